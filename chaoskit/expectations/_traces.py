"""The traces of a run put together: of each request its spans, its log lines by service, and its calls at proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

from chaoskit.expectations._lines import text_field
from chaoskit.history import rows as r
from chaoskit.language.view import View

TRACE_ID = "trace_id"
REQUEST_ID = "request_id"
"""Fields of a structured log."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}.*")


def ids_of(traceparent: str) -> tuple[str, str]:
    """Trace id and span id of a ``traceparent``; both empty when it is none."""
    found = _TRACEPARENT.fullmatch(traceparent.strip().lower())
    return (found["trace"], found["span"]) if found else ("", "")


def span_of(call: r.Exchange) -> tuple[str, str]:
    """Trace id and span id that a call carried to a proxy; both empty when it carried none."""
    return ids_of(call.headers.get("traceparent", ""))


@dataclass(frozen=True)
class Trace:
    """What is known of one request. ``root`` is the span of the sender, which nobody exports; empty when the trace
    began inside (its id was found in the log, by the request's id).
    """

    request: r.Request
    id: str
    root: str
    spans: Sequence[r.Span]
    calls: Sequence[r.Exchange]
    logged: frozenset[str]
    """Services with a log line that carries the trace id."""
    named: frozenset[str]
    """Services with a log line that carries the request's id."""
    strayed: frozenset[str]
    """Services with a log line that carries the request's id, and another trace id or none."""
    until: float = inf
    """When the last phase ended. Spans of what was done later (the last work of a queue) nobody awaits: they, ``calls``
    and the lines that name the request end here."""

    def reached(self, hop: str) -> bool:
        """Whether the request came to ``hop``: it answered, as its proxy saw; what was cut off on the way may not have
        come. Of a service that no call went to, as a worker, its log tells: it has a line with the request's id.
        """
        called = [call for call in self.calls if call.proxy == hop]
        return any(call.status is not None for call in called) if called else hop in self.named

    def exported_by(self, hop: str) -> bool:
        """Whether ``hop`` exported a span of it."""
        return any(span.service == hop for span in self.spans)

    def retried(self) -> Iterator[list[r.Exchange]]:
        """The calls of the same method and path at one proxy, by start, where there are several; not the sender's."""
        groups: dict[tuple[str, str, str], list[r.Exchange]] = {}
        _, sender = ids_of(self.request.traceparent)
        for call in self.calls:
            if not sender or span_of(call)[1] != sender:
                groups.setdefault((call.proxy, call.method, call.path), []).append(call)
        yield from (calls for calls in groups.values() if len(calls) > 1)

    @cached_property
    def by_id(self) -> dict[str, r.Span]:
        """The spans, each once: an exporter that was not answered in time sends them again."""
        return {span.span_id: span for span in self.spans}

    def orphans(self) -> list[r.Span]:
        """Spans whose parent nobody exported. The sender's span counts as exported, where there is one; a span without
        a parent is the trace's root, where there is none.
        """
        known = {*self.by_id, self.root}
        return [span for span in self.by_id.values() if span.parent_id not in known and span.ended <= self.until]


def traces(view: View, requests: Iterable[r.Request], *, by_log: bool = False) -> list[Trace]:
    """The trace of each request; of several copies, whose headers are the same, one.

    Its id is that of the ``traceparent`` that was sent. Where none was, and with ``by_log`` always, it is that of the
    first log line with the request's id.
    """
    index = _Index(view)
    wanted = {(request.op, request.stream, request.seq): request for request in requests}
    return [index.trace(request, by_log) for request in wanted.values()]


class _Index:
    """The rows of a history by trace id and by request id."""

    def __init__(self, view: View) -> None:
        self.until = max((phase.end for phase in view.phases.values()), default=inf)
        self.spans: dict[str, list[r.Span]] = {}
        for span in view.history.rows(r.Span):
            self.spans.setdefault(span.trace_id, []).append(span)
        self.by_trace: dict[str, set[str]] = {}
        self.by_request: dict[str, list[tuple[str, str]]] = {}
        for log in view.history.rows(r.Log):
            trace, request = text_field(log, TRACE_ID).lower(), text_field(log, REQUEST_ID)
            if trace:
                self.by_trace.setdefault(trace, set()).add(log.service)
            if request and log.at <= self.until:
                self.by_request.setdefault(request, []).append((log.service, trace))
        self.calls: dict[str, list[r.Exchange]] = {}
        self.calls_by_trace: dict[str, list[r.Exchange]] = {}
        for call in sorted(view.history.rows(r.Exchange), key=lambda row: row.started):
            trace, _ = span_of(call)
            if call.ended > self.until:
                continue
            if call.id:
                self.calls.setdefault(call.id, []).append(call)
            elif trace:
                self.calls_by_trace.setdefault(trace, []).append(call)

    def trace(self, request: r.Request, by_log: bool) -> Trace:
        trace_id, root = ("", "") if by_log else ids_of(request.traceparent)
        said = self.by_request.get(request.id, []) if request.id else []
        if not trace_id:
            trace_id = next((trace for _, trace in said if trace), "")
        calls = [*self.calls.get(request.id, ()), *self.calls_by_trace.get(trace_id, ())]
        return Trace(
            request=request,
            id=trace_id,
            root=root,
            spans=self.spans.get(trace_id, ()),
            calls=sorted(calls, key=lambda row: row.started),
            logged=frozenset(self.by_trace.get(trace_id, ())),
            named=frozenset(service for service, _ in said),
            strayed=frozenset(service for service, trace in said if trace != trace_id),
            until=self.until,
        )
