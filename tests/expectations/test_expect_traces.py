"""``traces``: a request is found by its trace id in every service that it came to."""

from __future__ import annotations

import json
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chaoskit.expectations._traces import ids_of
from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS, Collects, Outcome

Traces = EXPECTATIONS.get("traces")
ASKED = {"of": "place-order", "hops": ["orders", "payments"], "retries": "siblings", "orphans": 0}
OP = "traces.place-order."


def hexed(number: int, digits: int) -> str:
    """An id that is not zero."""
    return f"{number + 1:0{digits}x}"


class Shop:
    """Orders that fail with payments, each with its traces: by default as they should be.

    One attempt is an exchange at the proxy of payments, a client span of orders and a server span of payments.
    """

    def __init__(self, rehearse, requests: int = 20, attempts: int = 3) -> None:
        self.run = rehearse()
        self.requests, self.attempts = requests, attempts
        self.logged = lambda number, service, trace: trace
        self.parent = lambda number, attempt, spans: spans[0]
        self.span = lambda number, attempt: hexed(number * 100 + 10 + attempt, 16)
        self.keep = lambda span: True
        self.carries = lambda number, attempt, traceparent: traceparent
        self.request = {"status": 503}

    def row(self, number, service, name, id_, parent, trace, kind="server"):
        at = self.run.origin + number / 10
        row = r.Span(
            service=service, name=name, trace_id=trace, span_id=id_, parent_id=parent, started=at, ended=at + 0.01,
            kind=kind,
        )  # fmt: skip
        if self.keep(row):
            self.run.add(row)

    def log(self, service, at, **fields):
        self.run.add(r.Log(service=service, at=self.run.origin + at, line=json.dumps(fields)))

    def view(self):
        """The history with all this."""
        for number in range(self.requests):
            at, trace, root = 0.1 + number / 10, hexed(number, 32), hexed(number * 100, 16)
            row = self.run.request(at, seq=number, **{"traceparent": f"00-{trace}-{root}-01"} | self.request)
            heads = {"traceparent": row.traceparent} if row.traceparent else {}
            self.run.call(at, proxy="orders", id=row.id, path="/orders", status=503, headers=heads)
            own = hexed(number * 100 + 1, 16)
            self.log("orders", at, trace_id=self.logged(number, "orders", trace), request_id=row.id)
            self.row(number, "orders", "POST /orders", own, root if row.traceparent else "", trace)
            spans = [own]
            for attempt in range(self.attempts):
                id_ = self.span(number, attempt)
                head = self.carries(number, attempt, f"00-{trace}-{id_}-01")
                self.run.call(at + attempt / 100, id=row.id, status=503, headers={"traceparent": head} if head else {})
                self.row(number, "orders", "POST /charges", id_, self.parent(number, attempt, spans), trace, "client")
                spans.append(id_)
                joined = ids_of(head)[0] or hexed(number + 5000, 32)
                self.row(number, "payments", "POST /charges", hexed(number * 100 + 50 + attempt, 16), id_, joined)
                self.log("payments", at, trace_id=self.logged(number, "payments", joined), request_id=row.id)
        return self.run.view()


@pytest.fixture
def shop(rehearse):
    """Makes a shop with twenty failed orders of three attempts each."""
    return lambda **more: Shop(rehearse, **more)


def outcomes(findings):
    """Outcome by what follows the operation in the id."""
    return {key.removeprefix(OP): str(finding.outcome) for key, finding in findings.items()}


ALL = ["orders.logs", "orders.spans", "payments.logs", "payments.spans", "retries", "orphans"]


def violated(*names):
    """All held but these."""
    return {name: "violated" if name in names else "held" for name in ALL}


def test_held(shop, by_id):
    """Every hop carries the trace id in log and spans, retries are siblings, nothing is an orphan."""
    findings = by_id(Traces.model_validate(ASKED), shop().view())
    assert outcomes(findings) == violated()
    assert findings[OP + "payments.logs"].seen == "logs in 100% of 20 requests"
    assert findings[OP + "retries"].seen == "retries as siblings in 100% of 20 requests"
    assert findings[OP + "orphans"].seen == "0 of 140 spans in 20 traces"
    assert findings[OP + "payments.spans"].path == ("hops",)


def test_a_hop_that_begins_a_trace_of_its_own(shop, by_id):
    """It is known by the request's id, and found out in log and spans; so are the retries that carry nothing."""
    made = shop()
    made.carries = lambda number, attempt, traceparent: ""
    findings = by_id(Traces.model_validate(ASKED), made.view())
    assert outcomes(findings) == violated("payments.logs", "payments.spans", "retries")
    assert findings[OP + "payments.logs"].worst == "payments logged the request under another trace id (× 20)"
    assert findings[OP + "payments.spans"].worst == "no span of payments has the trace id (× 20)"
    assert findings[OP + "retries"].worst == "an attempt does not carry the trace id (× 20)"
    assert findings[OP + "retries"].rows[0].startswith(f"place-order-0 (503, 20ms) trace {hexed(0, 32)}: an attempt")


def test_a_line_without_a_trace_id_among_others(shop, by_id):
    """One line of the request with an empty trace id is a loss, whatever stands in the others."""
    made = shop()
    view = made.view()
    for number in range(20):
        made.log("payments", 0.1, trace_id="", request_id=f"place-order-{number}")
    assert outcomes(by_id(Traces.model_validate(ASKED), view)) == violated("payments.logs")


WORKER = {"of": "place-order", "hops": ["worker"]}


def deferred(made, trace=lambda trace: trace):
    """What a worker, whom nobody calls, did afterwards for every second request."""
    view = made.view()
    for number in range(0, made.requests, 2):
        carried = trace(hexed(number, 32))
        made.log("worker", 5, trace_id=carried, request_id=f"place-order-{number}")
        made.row(number, "worker", "settle order", hexed(number * 100 + 90, 16), hexed(number * 100 + 1, 16), carried)
    return view


def test_a_worker_that_nobody_calls(shop, by_id):
    """It was reached by the requests whose id it logs, and carries their trace."""
    findings = by_id(Traces.model_validate(WORKER), deferred(shop()))
    assert outcomes(findings) == {"worker.logs": "held", "worker.spans": "held"}
    assert findings[OP + "worker.logs"].samples == 10


def test_a_worker_that_loses_the_trace(shop, by_id):
    """It begins one of its own, or carries none."""
    for lost in (lambda trace: hexed(int(trace, 16) + 9000, 32), lambda trace: ""):
        findings = by_id(Traces.model_validate(WORKER), deferred(shop(), lost))
        assert outcomes(findings) == {"worker.logs": "violated", "worker.spans": "violated"}


def test_nested_retries(shop, by_id):
    """An attempt below the one before is no sibling."""
    made = shop()
    made.parent = lambda number, attempt, spans: spans[-1]
    findings = by_id(Traces.model_validate(ASKED), made.view())
    assert outcomes(findings) == violated("retries")
    assert findings[OP + "retries"].worst == "attempts have different parents (× 20)"


def test_attempts_in_one_span(shop, by_id):
    """All attempts in one span cannot be told apart."""
    made = shop()
    made.span = lambda number, attempt: hexed(number * 100 + 10, 16)
    findings = by_id(Traces.model_validate(ASKED), made.view())
    assert outcomes(findings) == violated("retries")
    assert findings[OP + "retries"].worst == "attempts share one span (× 20)"


def test_attempts_that_are_not_exported(shop, by_id):
    """Their spans are missing, and those of payments are orphans."""
    made = shop()
    made.keep = lambda span: span.kind != "client"
    findings = by_id(Traces.model_validate(ASKED), made.view())
    assert outcomes(findings) == violated("retries", "orphans")
    assert findings[OP + "orphans"].seen == "60 of 80 spans in 20 traces"
    assert "payments 'POST /charges' below" in findings[OP + "orphans"].worst


def test_a_span_below_none_is_an_orphan_where_the_sender_has_one(shop, by_id):
    """The request brought a parent: a root within its trace has lost it."""
    made = shop()
    view = made.view()
    made.row(0, "orders", "job", "f" * 16, "", hexed(0, 32))
    findings = by_id(Traces.model_validate(ASKED), view)
    assert findings[OP + "orphans"].outcome is Outcome.VIOLATED
    assert findings[OP + "orphans"].worst.endswith("orders 'job' below none")


def test_what_ends_after_the_last_phase_is_left_out(shop, by_id):
    """A worker goes on with its queue, and nobody waits for the spans of that: one may miss the end, or its parent."""
    made = shop()
    view = made.view()
    late = max(phase.end for phase in view.phases.values()) - made.run.origin
    made.row(10 * late, "payments", "POST /charges", "f" * 16, "e" * 16, hexed(0, 32))
    assert outcomes(by_id(Traces.model_validate(ASKED), view)) == violated()
    asked = {"of": "place-order", "hops": ["late"], "carried_in": ["spans"]}
    for number, row in enumerate(view.requests()):
        made.run.call(late + number / 10, proxy="late", id=row.id, path="/late", status=200)
        made.log("late", late + number / 10 + 0.01, request_id=row.id)
    assert by_id(Traces.model_validate(asked), view)[OP + "late.spans"].outcome is Outcome.VACUOUS
    for number, row in enumerate(view.requests()):
        made.run.call(late - 4 + number / 10, proxy="late", id=row.id, path="/late", status=200)
    assert by_id(Traces.model_validate(asked), made.run.view())[OP + "late.spans"].outcome is Outcome.VIOLATED
    made.row(10 * late - 1, "payments", "POST /charges", "d" * 16, "e" * 16, hexed(0, 32))
    assert outcomes(by_id(Traces.model_validate(ASKED), view)) == violated("orphans")


def test_a_span_sent_twice_is_one(shop, by_id):
    """An exporter that was not answered in time sends a batch again."""
    view = shop().view()
    for span in view.history.rows(r.Span):
        view.history.add(span)
    findings = by_id(Traces.model_validate(ASKED), view)
    assert outcomes(findings) == violated()
    assert findings[OP + "orphans"].seen == "0 of 140 spans in 20 traces"


def test_the_share(shop, by_id):
    """One loss in twenty is 95 %."""
    made = shop()
    made.logged = lambda number, service, trace: "" if (number, service) == (3, "payments") else trace
    view = made.view()
    findings = by_id(Traces.model_validate(ASKED), view)
    assert outcomes(findings) == violated("payments.logs")
    assert findings[OP + "payments.logs"].seen == "logs in 95% of 20 requests"
    assert outcomes(by_id(Traces.model_validate(ASKED | {"share": ">= 95%"}), view)) == violated()


def test_only_hops_that_were_reached_count(shop, by_id):
    """A call that nobody answered may have been lost on the way: too few reached payments."""
    made = shop(attempts=0)
    view = made.view()
    for number in range(20):
        made.run.call(0.1, id=f"place-order-{number}", status=None)
    findings = by_id(Traces.model_validate(ASKED), view)
    assert outcomes(findings) == violated() | {
        "payments.logs": "vacuous", "payments.spans": "vacuous", "retries": "vacuous"
    }  # fmt: skip
    assert findings[OP + "payments.logs"].seen == (
        "0 of 20 failed requests are known to have reached payments; 10 are needed"
    )
    assert findings[OP + "retries"].seen == "0 of 20 failed requests were seen to retry a call; 10 are needed"


def test_too_few_failed_requests(shop, by_id):
    """Nine prove nothing."""
    findings = by_id(Traces.model_validate(ASKED), shop(requests=9).view())
    assert set(outcomes(findings).values()) == {"vacuous"}


def test_no_spans_at_all(shop, by_id):
    """Nobody exports: the finding says how to."""
    made = shop()
    made.keep = lambda span: False
    findings = by_id(Traces.model_validate(ASKED), made.view())
    vacuous = {"orders.spans", "payments.spans", "retries", "orphans"}
    assert {name for name, outcome in outcomes(findings).items() if outcome == "vacuous"} == vacuous
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: {{ chaos.otlp_url }}" in findings[OP + "orphans"].seen
    logs_only = ASKED | {"carried_in": ["logs"], "retries": None, "orphans": None}
    assert outcomes(by_id(Traces.model_validate(logs_only), made.run.view())) == {
        "orders.logs": "held", "payments.logs": "held"
    }  # fmt: skip


def test_which_requests(shop, by_id):
    """Failed ones by default; those answered by a fallback, or all."""
    made = shop()
    made.request = {"status": 201, "fallback": True}
    view = made.view()
    assert set(outcomes(by_id(Traces.model_validate(ASKED), view)).values()) == {"vacuous"}
    for when in ("fallback", "all"):
        assert outcomes(by_id(Traces.model_validate(ASKED | {"when": when}), view)) == violated()


def test_found_by_request_id(shop, by_id):
    """Without a traceparent the trace id is that of the log line with the request's id, and the trace has its root."""
    made = shop()
    made.request = {"status": 503, "traceparent": ""}
    assert outcomes(by_id(Traces.model_validate(ASKED), made.view())) == violated()


def test_an_edge_that_begins_the_trace(shop, by_id):
    """Where the service at the edge trusts no caller, ``found_by: request_id`` follows its own trace."""
    made = shop()
    made.request = {"status": 503, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    view = made.view()
    assert outcomes(by_id(Traces.model_validate(ASKED), view))["orders.logs"] == "violated"
    # Its root hangs below the span that the caller sent, which is not in this trace.
    asked = ASKED | {"found_by": "request_id", "orphans": 20}
    assert outcomes(by_id(Traces.model_validate(asked), view)) == violated()


def test_copies_are_no_retries(shop, by_id):
    """Simultaneous copies of a request come to the edge with the same span: the sender's."""
    made = shop(attempts=1)
    view = made.view()
    for request in view.requests("place-order"):
        made.run.call(0.1, proxy="orders", id=request.id, headers={"traceparent": request.traceparent})
    finding = by_id(Traces.model_validate(ASKED), view)[OP + "retries"]
    assert finding.outcome is Outcome.VACUOUS


def test_several_operations(shop, by_id):
    """Their requests are judged together, under both names."""
    view = shop().view()
    findings = by_id(Traces.model_validate(ASKED | {"of": ["place-order", "other"]}), view)
    assert findings["traces.place-order+other.payments.logs"].held


def test_late_spans_are_waited_for(shop, by_id):
    """``collect`` returns when they are there, and not before; never later than ``within``."""
    made = shop()
    late: list[r.Span] = []
    made.keep = lambda span: bool(late.append(span))
    view = made.view()
    expectation = Traces.model_validate(ASKED | {"within": "10s"})
    assert isinstance(expectation, Collects)
    timer = threading.Timer(0.5, lambda: [view.history.add(span) for span in late])
    timer.start()
    began = time.monotonic()
    assert list(expectation.collect(None, view)) == []
    assert 0.4 < time.monotonic() - began < 8
    timer.join()
    assert outcomes(by_id(expectation, view)) == violated()
    began = time.monotonic()
    made = shop()
    made.keep = lambda span: False
    assert list(Traces.model_validate(ASKED | {"within": "300ms"}).collect(None, made.view())) == []
    assert time.monotonic() - began >= 0.3


@settings(max_examples=60, deadline=None)
@given(
    lost=st.sets(st.integers(0, 19), max_size=20),
    nested=st.sets(st.integers(0, 19), max_size=20),
    dropped=st.sets(st.tuples(st.integers(0, 19), st.sampled_from(["client", "server"])), max_size=10),
)
def test_each_loss_counts_once(rehearse, by_id, lost, nested, dropped):
    """Whatever is lost: the shares are exactly those of the requests that nothing is wrong with."""
    made = Shop(rehearse)
    made.logged = lambda number, service, trace: "" if service == "payments" and number in lost else trace
    made.parent = lambda number, attempt, spans: spans[-1] if number in nested else spans[0]
    number_of = lambda span: int(span.trace_id, 16) - 1  # noqa: E731
    made.keep = lambda span: span.service == "payments" or (number_of(span), span.kind) not in dropped
    view = made.view()
    found = by_id(Traces.model_validate(ASKED | {"share": ">= 0.1%", "orphans": ">= 1"}), view)
    no_client = {number for number, kind in dropped if kind == "client"}
    no_server = {number for number, kind in dropped if kind == "server"}

    def share(name):
        return float(found[OP + name].seen.partition("%")[0].rpartition(" ")[2])

    assert share("payments.logs") == pytest.approx(100 - 5 * len(lost), abs=0.06)
    assert share("payments.spans") == share("orders.logs") == 100
    # A client span is one of orders, too.
    assert share("orders.spans") == pytest.approx(100 - 5 * len(no_client & no_server), abs=0.06)
    assert share("retries") == pytest.approx(100 - 5 * len(nested | no_client), abs=0.06)
    orphans = 3 * len(no_client)
    orphans += sum(1 if number in nested else 3 for number in no_server - no_client)
    assert int(found[OP + "orphans"].seen.partition(" ")[0]) == orphans


@given(st.text(max_size=60))
def test_any_header_is_a_traceparent_or_none(text):
    """What is none gives empty ids."""
    trace, span = ids_of(text)
    assert (len(trace), len(span)) in ((0, 0), (32, 16))


def test_a_traceparent_of_a_later_version():
    """Fields may be added to it; case does not matter."""
    assert ids_of(f"01-{'A' * 32}-{'b' * 16}-00-more") == ("a" * 32, "b" * 16)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"of": "place-order"}, "at least one"),
        ({"of": "place-ordr", "orphans": 0}, "unknown operation"),
        ({"of": [], "orphans": 0}, "at least 1 item"),
        ({"of": "place-order", "hops": ["order"]}, "unknown service"),
        ({"of": "place-order", "retries": "nested"}, "siblings"),
        ({"of": "place-order", "orphans": 0, "when": "slow"}, "failed"),
        ({"of": "place-order", "hops": ["orders"], "carried_in": []}, "at least 1 item"),
        ({"of": "place-order", "hops": ["orders"], "share": "99%"}, "not a bound"),
    ],
)
def test_mistakes_are_refused_at_load(asked, text):
    """Nothing asked, nothing known."""
    with pytest.raises(ValidationError, match=text):
        Traces.model_validate(asked, context={"operations": {"place-order"}, "services": {"orders", "payments"}})
