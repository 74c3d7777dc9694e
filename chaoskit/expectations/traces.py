"""Whether a request can be followed through all services: ``traces: {of: place-order, hops: [orders, payments]}``.

Each request of the traffic carries a ``traceparent`` (W3C trace context). A service takes the trace id from it into
each line of its log, exports spans of it, and hands it on. Spans are received at ``{{ chaos.otlp_url }}``, which a
service gets as ``OTEL_EXPORTER_OTLP_ENDPOINT``; the ``service.name`` in them is the service's name in the environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import TimeoutExpired
from chaoskit.base.units import counted
from chaoskit.expectations._evidence import SHOWN, many, told, vacuous, with_unit
from chaoskit.expectations._fields import Count, at_least_one
from chaoskit.expectations._traces import Trace, span_of, traces
from chaoskit.history import rows as r
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import CollectContext, Expectation, Finding, Outcome, check
from chaoskit.language.source import YamlPath
from chaoskit.language.types import Duration, OperationName, ServiceName, ShareBound
from chaoskit.language.view import View

NEEDED = 10
"""Requests that a finding must come from."""

_EVERY = 0.25
"""Seconds between two looks whether the last spans have come."""


class Traces(Expectation):
    """Expectations on the traces of the requests ``of`` an operation, or several, that ``failed`` (default), were
    answered by a ``fallback``, or of ``all``, and were to be sent while a fault was active (``where``).

    ``hops``: of the requests that a service was reached by (it answered, as its proxy saw; they are known there by
    the correlation id, or by the ``traceparent``; a worker that no call goes to was reached if it logged the id), this
    ``share`` is found by trace id in its log lines, field ``trace_id``, and in its spans, or in one of both
    (``carried_in``). A line with the field ``request_id`` of a request and another trace id is a loss.
    ``retries: siblings``: the calls of one request to the same path of a service each carry a span of their own, and
    all of them have one parent. ``orphans`` bounds the spans whose parent nobody exported; the sender's own span is
    known. Calls and spans that end after the last phase are left out; the last spans may come ``within`` this time of
    it. The trace id is the one sent in the ``traceparent``, or, ``found_by: request_id``, that of the first log line
    with the request's id.
    """

    of: OperationName | Annotated[list[OperationName], Field(min_length=1)]
    when: Literal["failed", "fallback", "all"] = "failed"
    where: Literal["faults", "all"] = "faults"
    hops: Annotated[list[ServiceName], Field(min_length=1)] | None = None
    carried_in: Annotated[list[Literal["logs", "spans"]], Field(min_length=1)] = ["logs", "spans"]
    share: ShareBound = Bound.parse(">= 99%", "ratio")
    retries: Literal["siblings"] | None = None
    orphans: Count | None = None
    found_by: Literal["traceparent", "request_id"] = "traceparent"
    within: Duration = 6.0

    _asked = model_validator(mode="after")(at_least_one("hops", "retries", "orphans"))

    def collect(self, reader: CollectContext, view: View) -> Iterable[r.Read]:  # noqa: ARG002  # nothing is read, only awaited
        """Wait for spans that are still on their way: exporters send them in batches."""

        def settled() -> bool:
            late = [finding for finding in self.judge(view) if not finding.id.endswith(".logs")]
            some = bool(view.history.rows(r.Span))
            return all(finding.held or (some and finding.outcome is Outcome.VACUOUS) for finding in late)

        try:
            wait_for(settled, what="spans", limit=self.within, every=_EVERY)
        except TimeoutExpired:
            return ()  # what is still missing is for the judge to say
        return ()

    def judge(self, view: View) -> Iterator[Finding]:
        """``traces.OPERATION.HOP.logs`` and ``.spans`` for each hop, ``traces.OPERATION.retries``, ``.orphans``."""
        seen = traces(view, self._requests(view), by_log=self.found_by == "request_id")
        exporting = {span.service for span in view.history.rows(r.Span)}
        for hop in self.hops or []:
            for kind in dict.fromkeys(self.carried_in):
                yield self._hop(hop, kind, self._certain(seen, view, kind), exporting, view)
        if self.retries is not None:
            yield self._retries(self._certain(seen, view, "spans"), exporting, view)
        if self.orphans is not None:
            yield self._orphans(self.orphans, self._certain(seen, view, "spans"), exporting, view)

    def _id(self, name: str) -> str:
        return f"traces.{self.of if isinstance(self.of, str) else '+'.join(self.of)}.{name}"

    def _requests(self, view: View) -> list[r.Request]:
        operations = [self.of] if isinstance(self.of, str) else self.of
        windows = view.fault_windows if self.where == "faults" else None
        requests = [request for op in dict.fromkeys(operations) for request in view.requests(op, windows)]
        if self.when == "all":
            return requests
        return [row for row in requests if (not row.ok if self.when == "failed" else row.ok and row.fallback)]

    def _certain(self, seen: list[Trace], view: View, kind: str) -> list[Trace]:
        """Without the traces that the machine could have made what they are: spans are sent later, in batches."""
        late = self.within if kind == "spans" else 0.0
        return [trace for trace in seen if not view.doubted(trace.request.intended, trace.request.ended + late)]

    def _which(self, seen: list[Trace]) -> str:
        return many(str(len(seen)), f"{self.when} request" if self.when != "all" else "request")

    def _hop(self, hop: str, kind: str, seen: list[Trace], exporting: set[str], view: View) -> Finding:
        key, path = self._id(f"{hop}.{kind}"), ("hops",)
        reached = [trace for trace in seen if trace.reached(hop)]
        if len(reached) < NEEDED:
            why = f"{len(reached)} of {self._which(seen)} are known to have reached {hop}; {NEEDED} are needed"
            return vacuous(key, str(self.share), why, path, len(reached))
        if kind == "spans" and not exporting:
            return self._no_spans(key, str(self.share), path, view)
        lost = _lost_in_log if kind == "logs" else _lost_in_spans
        return self._shared(key, path, [(trace, lost(trace, hop)) for trace in reached], kind)

    def _retries(self, seen: list[Trace], exporting: set[str], view: View) -> Finding:
        key, path, expected = self._id("retries"), ("retries",), "siblings under one parent"
        hops = self.hops
        retried = [
            (trace, groups)
            for trace in seen
            if (groups := [calls for calls in trace.retried() if hops is None or calls[0].proxy in hops])
        ]
        if len(retried) < NEEDED:
            why = f"{len(retried)} of {self._which(seen)} were seen to retry a call; {NEEDED} are needed"
            return vacuous(key, expected, why, path, len(retried))
        if not exporting:
            return self._no_spans(key, expected, path, view)
        judged = [
            (trace, next((why for calls in groups if (why := _no_siblings(trace, calls))), ""))
            for trace, groups in retried
        ]
        return self._shared(key, path, judged, "retries as siblings")

    def _orphans(self, bound: Bound, seen: list[Trace], exporting: set[str], view: View) -> Finding:
        key, path = self._id("orphans"), ("orphans",)
        if not exporting:
            return self._no_spans(key, str(bound), path, view)
        found = [(trace, span) for trace in seen for span in trace.orphans()]
        rows = [
            f"{_told(trace)}: {span.service} {span.name!r} below {span.parent_id or 'none'}" for trace, span in found
        ]
        with_spans = sum(bool(trace.spans) for trace in seen)
        finding = check(
            key, bound, len(found), with_spans, need=NEEDED, path=path, worst=rows[0] if rows else "",
            rows=rows[:SHOWN],
        )  # fmt: skip
        spans = sum(len(trace.by_id) for trace in seen)
        of = f"{counted(spans, 'spans')} in {counted(with_spans, 'traces')}"
        return with_unit(finding, lambda text: f"{text} of {of}")

    def _no_spans(self, id: str, expected: str, path: YamlPath, view: View) -> Finding:
        why = "no span was received: give the services OTEL_EXPORTER_OTLP_ENDPOINT: {{ chaos.otlp_url }}"
        return vacuous(id, expected, why, path, certain=view.had_time())

    def _shared(self, id: str, path: YamlPath, judged: list[tuple[Trace, str]], what: str) -> Finding:
        """The finding on the share of traces that nothing is wrong with."""
        bad = [(trace, why) for trace, why in judged if why]
        kinds = ", ".join(f"{why} (× {count})" for why, count in Counter(why for _, why in bad).most_common(3))
        finding = check(
            id, self.share, 1 - len(bad) / len(judged), len(judged), need=NEEDED, path=path, worst=kinds,
            rows=[f"{_told(trace)}: {why}" for trace, why in bad[:SHOWN]],
        )  # fmt: skip
        return with_unit(finding, lambda text: f"{what} in {text} of {many(str(len(judged)), 'request')}")


def _told(trace: Trace) -> str:
    return f"{told(trace.request)} trace {trace.id or 'unknown'}"


def _lost_in_log(trace: Trace, hop: str) -> str:
    """Why a request cannot be followed in the log of ``hop``; empty when it can."""
    if hop in trace.strayed:
        return f"{hop} logged the request under another trace id"
    return "" if hop in trace.logged else f"no line of {hop} has the trace id"


def _lost_in_spans(trace: Trace, hop: str) -> str:
    return "" if trace.exported_by(hop) else f"no span of {hop} has the trace id"


def _no_siblings(trace: Trace, calls: list[r.Exchange]) -> str:
    """What is wrong with the spans of several attempts at one call; empty when nothing is."""
    carried = [span_of(call) for call in calls]
    if any(trace_id != trace.id for trace_id, _ in carried):
        return "an attempt does not carry the trace id"
    ids = [span_id for _, span_id in carried]
    if len(set(ids)) < len(ids):
        return "attempts share one span"
    if any(span_id not in trace.by_id for span_id in ids):
        return "an attempt's span was not exported"
    parents = {trace.by_id[span_id].parent_id for span_id in ids}
    return "" if len(parents) == 1 and parents != {""} else "attempts have different parents"
