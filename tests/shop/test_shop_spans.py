"""The shop's spans, exported by OpenTelemetry's SDK to a real receiver, judged as a scenario would."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.alerting.otlp import PREFIX, OtlpTaker
from chaoskit.alerting.receiver import Receiver
from chaoskit.base.clock import wait_for
from chaoskit.history.rows import Span
from chaoskit.history.store import History

EXAMPLES = Path(__file__).parents[2] / "examples"
TRACEPARENT = "00-{trace}-00f067aa0ba902b7-01"


class Traced:
    """The shop with a receiver for its spans."""

    def __init__(self, url: str, history: History) -> None:
        self.url = url
        self.history = history

    def trace(self, trace: str, count: int) -> list[Span]:
        """The spans of a trace, once ``count`` have come."""

        def come() -> list[Span]:
            found = [span for span in self.history.rows(Span) if span.trace_id == trace]
            return found if len(found) >= count else []

        return wait_for(come, what=f"{count} spans", limit=30, last_seen=lambda: str(self.history.counts()))


@pytest.fixture
def traced() -> Iterator[Traced]:
    """A receiver of spans."""
    history, receiver = History(), Receiver()
    receiver.take(PREFIX, OtlpTaker(history.add))
    receiver.start("127.0.0.1")
    yield Traced(receiver.addresses()["otlp_url"], history)
    receiver.stop()


def order(orders: Any) -> str:
    """Place an order within a new trace; gives the trace id."""
    trace = uuid.uuid4().hex
    orders.order(headers={"traceparent": TRACEPARENT.format(trace=trace)})
    return trace


@pytest.mark.parametrize("retry_spans", ["siblings", "nested"])
def test_attempts(start: Callable[..., Any], payments: Any, traced: Traced, retry_spans: str) -> None:
    """Each attempt has a span: all below that of the request, or (``nested``) each below the one before."""
    payments.script = lambda _: 503
    orders = start("orders", PAYMENTS_URL=payments.url, OTEL_EXPORTER_OTLP_ENDPOINT=traced.url, RETRY_SPANS=retry_spans)
    trace = order(orders)
    spans = traced.trace(trace, 4)
    (server,) = [span for span in spans if span.kind == "server"]
    attempts = sorted((span for span in spans if span.kind == "client"), key=lambda span: span.started)
    assert server.parent_id == "00f067aa0ba902b7"
    assert (server.service, server.name, server.status) == ("orders", "POST /orders", "")  # deferred: a 201
    assert [span.status for span in attempts] == ["error"] * 3
    assert [span.attributes["http.request.resend_count"] for span in attempts] == [0, 1, 2]
    parents = [server.span_id] * 3
    if retry_spans == "nested":
        parents[1:] = [span.span_id for span in attempts[:2]]
    assert [span.parent_id for span in attempts] == parents
    carried = [headers["traceparent"] for _, _, headers in payments.calls]
    assert carried == [f"00-{trace}-{span.span_id}-01" for span in attempts]
    line = next(line for line in orders.lines("request") if line["trace_id"] == trace)
    assert line["span_id"] == server.span_id


def test_one_trace_through_three_processes(start: Callable[..., Any], payments: Any, traced: Traced) -> None:
    """orders, and the worker that settles what orders deferred: no span is without its parent."""
    payments.script = lambda _: 500
    rest = {"PAYMENTS_URL": payments.url, "OTEL_EXPORTER_OTLP_ENDPOINT": traced.url}
    trace = order(start("orders", **rest))
    payments.script = lambda _: 201
    start("worker", **rest)
    spans = traced.trace(trace, 4)
    assert sorted((span.service, span.kind) for span in spans) == [
        ("orders", "client"), ("orders", "server"), ("worker", "client"), ("worker", "consumer"),
    ]  # fmt: skip
    known = {span.span_id for span in spans} | {"00f067aa0ba902b7"}
    assert {span.parent_id for span in spans} <= known


def test_propagation_off(start: Callable[..., Any], payments: Any, traced: Traced) -> None:
    """``TRACE_PROPAGATION=off``: orders begins a trace of its own and hands none on; the request's id goes on."""
    orders = start("orders", PAYMENTS_URL=payments.url, OTEL_EXPORTER_OTLP_ENDPOINT=traced.url, TRACE_PROPAGATION="off")
    trace = order(orders)
    (line,) = orders.lines("request")
    assert line["trace_id"] != trace
    (_, _, headers) = payments.calls[0]
    assert "traceparent" not in headers
    assert headers["x-request-id"] == line["request_id"]
    assert {span.parent_id for span in traced.trace(line["trace_id"], 2) if span.kind == "server"} == {""}


def test_the_last_spans_are_exported_at_the_end(start: Callable[..., Any], payments: Any, traced: Traced) -> None:
    """SIGTERM loses none, and a receiver that is gone does not hold the process up."""
    orders = start("orders", PAYMENTS_URL=payments.url, OTEL_EXPORTER_OTLP_ENDPOINT=traced.url)
    traces = [order(orders) for _ in range(5)]
    assert orders.stop() == 0
    assert all(len(traced.trace(trace, 2)) == 2 for trace in traces)
    orders = start("orders", PAYMENTS_URL=payments.url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    order(orders)
    began = time.monotonic()
    assert orders.stop(limit=30) == 0
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("service", ["orders", "payments", "worker"])
def test_the_exporter_is_imported_only_when_it_is_used(service: str) -> None:
    """Without an endpoint no process pays for it (the Redis client, where it finds the SDK, imports that)."""
    code = f"import sys, shop.{service}; sys.exit('opentelemetry.exporter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
