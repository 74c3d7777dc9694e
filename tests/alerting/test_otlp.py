"""Spans over OTLP/HTTP: from OpenTelemetry's own exporter, as JSON, and whatever else may arrive."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from chaoskit.alerting import otlp
from chaoskit.alerting.otlp import JSON, PROTOBUF, OtlpTaker
from chaoskit.alerting.receiver import Call, Receiver
from chaoskit.base.clock import now
from chaoskit.history.rows import Row, Span
from chaoskit.history.store import History, load

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"


class Sink:
    """A receiver with the rows that it got."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.receiver = Receiver()
        self.receiver.take(otlp.PREFIX, OtlpTaker(self.rows.append))
        self.receiver.start("127.0.0.1")
        self.url = str(self.receiver.addresses()["otlp_url"])

    @property
    def spans(self) -> list[Span]:
        return [row for row in self.rows if isinstance(row, Span)]

    def post(self, body: bytes, kind: str = JSON, path: str = "/v1/traces", **headers: str) -> requests.Response:
        return requests.post(self.url + path, data=body, headers={"content-type": kind, **headers}, timeout=10)


@pytest.fixture(scope="module")
def running() -> Iterator[Sink]:
    """One receiver for all tests."""
    sink = Sink()
    yield sink
    sink.receiver.stop()


@pytest.fixture
def sink(running: Sink) -> Sink:
    """The receiver, without rows."""
    running.rows.clear()
    return running


def document(**changes: Any) -> dict[str, Any]:
    """An export of one span, as the specification's example has it."""
    span = {
        "traceId": TRACE.upper(), "spanId": SPAN, "parentSpanId": PARENT, "name": "GET /orders", "kind": 2,
        "startTimeUnixNano": str(time.time_ns() - 10_000_000), "endTimeUnixNano": time.time_ns(),
        "attributes": [{"key": "http.route", "value": {"stringValue": "/orders"}}], "status": {"code": 2},
        "newField": 1, **changes,
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": [span]}]}]}


def tracing(url: str, **options: Any) -> TracerProvider:
    """The real SDK with the real exporter, one export per span."""
    provider = TracerProvider(resource=Resource({"service.name": "orders"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces", **options)))
    return provider


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_real_exporter(sink: Sink, compression: Compression) -> None:
    """What OpenTelemetry's SDK exports arrives with ids, times, kinds, statuses and attributes of all types."""
    provider = tracing(sink.url, compression=compression)
    tracer = provider.get_tracer("test")
    began = now()
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer:
        outer.set_attributes({"text": "é", "whole": -7, "half": 0.5, "yes": True, "list": ["a", "b"]})
        with tracer.start_as_current_span("inner", kind=SpanKind.CLIENT) as inner:
            inner.set_status(StatusCode.ERROR)
            time.sleep(0.05)
    provider.shutdown()
    spans = {span.name: span for span in sink.spans}
    assert set(spans) == {"outer", "inner"}
    assert {span.trace_id for span in sink.spans} == {f"{outer.get_span_context().trace_id:032x}"}
    assert spans["outer"].span_id == f"{outer.get_span_context().span_id:016x}"
    assert (spans["outer"].parent_id, spans["inner"].parent_id) == ("", spans["outer"].span_id)
    assert (spans["outer"].kind, spans["inner"].kind) == ("server", "client")
    assert (spans["outer"].status, spans["inner"].status) == ("", "error")
    assert spans["outer"].attributes == {"text": "é", "whole": -7, "half": 0.5, "yes": True, "list": ["a", "b"]}
    assert {span.service for span in sink.spans} == {"orders"}
    assert abs(spans["inner"].started - began) < 1.0
    assert spans["inner"].ended - spans["inner"].started >= 0.05


def test_json(sink: Sink) -> None:
    """JSON carries hex ids in either case, numbers as texts, and fields that nobody knows."""
    answer = sink.post(json.dumps(document()).encode(), "application/json; charset=utf-8")
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, JSON)
    (span,) = sink.spans
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, SPAN, PARENT)
    assert (span.service, span.name, span.kind, span.status) == ("orders", "GET /orders", "server", "error")
    assert span.attributes == {"http.route": "/orders"}
    assert 0.005 < span.ended - span.started < 0.5


def test_values_of_all_kinds_are_the_same_in_both_encodings(sink: Sink) -> None:
    """A value nested in lists and maps is what it was."""
    values = {
        "i": {"intValue": "-9223372036854775808"}, "d": {"doubleValue": 1.5}, "b": {"boolValue": False},
        "n": {}, "bytes": {"bytesValue": "AAE="}, "empty": {"stringValue": ""},
        "deep": {"arrayValue": {"values": [{"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 1}}]}}]}},
    }  # fmt: skip
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    assert sink.post(json.dumps(document(attributes=attributes)).encode()).status_code == 200
    made = ExportTraceServiceRequest()
    span = (
        made.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="x")
    )
    for key in values:
        span.attributes.add(key=key)
    into = {pair.key: pair.value for pair in span.attributes}
    into["i"].int_value, into["d"].double_value, into["b"].bool_value = -(2**63), 1.5, False
    into["bytes"].bytes_value, into["empty"].string_value = b"\0\1", ""
    into["deep"].array_value.values.add().kvlist_value.values.add(key="k").value.int_value = 1
    assert sink.post(made.SerializeToString(), PROTOBUF).status_code == 200
    first, second = (row.attributes for row in sink.spans)
    expected = {"i": -(2**63), "d": 1.5, "b": False, "n": None, "bytes": "AAE=", "empty": "", "deep": [{"k": 1}]}
    assert first == second == expected


def test_spans_without_valid_ids_are_rejected(sink: Sink) -> None:
    """They are told as rejected, as the protocol wants, and those beside them are taken."""
    mixed = document()
    spans = mixed["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans += [spans[0] | change for change in ({"traceId": "0" * 32}, {"spanId": "abc"}, {"parentSpanId": "x" * 16})]
    answer = sink.post(json.dumps(mixed).encode())
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "3"
    assert len(sink.spans) == 1
    made = ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.add(trace_id=b"short")
    answer = sink.post(made.SerializeToString(), PROTOBUF)
    told = ExportTraceServiceResponse.FromString(answer.content)
    assert (answer.status_code, told.partial_success.rejected_spans) == (200, 1)


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, {}, 400),
        (b"{", JSON, {}, 400),
        (b"[]", JSON, {}, 400),
        (b'{"resourceSpans": {}}', JSON, {}, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}', JSON, {}, 400),
        (json.dumps(document(startTimeUnixNano="soon")).encode(), JSON, {}, 400),
        (json.dumps(document(startTimeUnixNano="9" * 30)).encode(), JSON, {}, 400),
        (b'{"resourceSpans": ' + b"[" * 100_000, JSON, {}, 400),
        (b"plain", JSON, {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-9], JSON, {"content-encoding": "gzip"}, 400),
        (b"{}", JSON, {"content-encoding": "br"}, 400),
        (b"{}", "text/plain", {}, 415),
        (b"{}", "", {}, 415),
    ],
)
def test_garbage_is_refused(sink: Sink, body: bytes, kind: str, headers: dict[str, str], status: int) -> None:
    """It gets the status that the protocol has for it, with a reason, and no row."""
    answer = sink.post(body, kind, **headers)
    assert answer.status_code == status
    assert answer.content
    assert sink.rows == []


def test_a_body_that_unpacks_to_too_much_is_refused(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body cannot fill the memory."""
    monkeypatch.setattr(otlp, "MOST", 1024 * 1024)
    assert sink.post(gzip.compress(b" " * 900_000 + b"{}"), **{"content-encoding": "gzip"}).status_code == 200
    assert sink.post(gzip.compress(b" " * 1_100_000 + b"{}"), **{"content-encoding": "gzip"}).status_code == 400


def test_other_signals_are_taken_and_dropped(sink: Sink) -> None:
    """An exporter of metrics and logs has nothing to complain of; another path and method are refused."""
    assert sink.post(b"\x0a\x00", PROTOBUF, "/v1/metrics").status_code == 200
    assert sink.post(b"{}", JSON, "/v1/logs").status_code == 200
    assert sink.post(b"{}", JSON, "/v2/traces").status_code == 404
    assert requests.get(sink.url + "/v1/traces", timeout=5).status_code == 405
    assert sink.rows == []


def chunked(sink: Sink, chunks: list[bytes], **headers: str) -> int:
    """Post in chunks, as Go's exporter does with a packed body."""
    host, _, port = sink.url.removeprefix("http://").removesuffix("/otlp").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request(
        "POST", "/otlp/v1/traces", body=iter(chunks), headers={"content-type": JSON, **headers}, encode_chunked=True
    )
    status = connection.getresponse().status
    connection.close()
    return status


def test_chunked_bodies(sink: Sink) -> None:
    """A body without a length told is read to its end, packed or not."""
    body = json.dumps(document()).encode()
    assert chunked(sink, [body[:10], body[10:50], body[50:]]) == 200
    packed = gzip.compress(body)
    assert chunked(sink, [packed[:20], packed[20:]], **{"content-encoding": "gzip"}) == 200
    assert chunked(sink, [zlib.compress(body)], **{"content-encoding": "deflate"}) == 200
    assert len(sink.spans) == 3


def test_many_at_once(sink: Sink) -> None:
    """Sixteen exporters lose nothing and mix nothing up."""

    def export(number: int) -> str:
        provider = tracing(sink.url, compression=Compression.Gzip if number % 2 else Compression.NoCompression)
        with provider.get_tracer("test").start_as_current_span(f"root-{number}") as root:
            for step in range(5):
                provider.get_tracer("test").start_span(f"{number}.{step}").end()
        provider.shutdown()
        return f"{root.get_span_context().trace_id:032x}"

    with ThreadPoolExecutor(16) as pool:
        traces = list(pool.map(export, range(48)))
    assert len(sink.spans) == 48 * 6
    for number, trace in enumerate(traces):
        names = {span.name for span in sink.spans if span.trace_id == trace}
        assert names == {f"root-{number}", *(f"{number}.{step}" for step in range(5))}


def taken(body: bytes, kind: str) -> tuple[int, list[Row]]:
    """What the taker makes of a body, without a network."""
    rows: list[Row] = []
    answer = OtlpTaker(rows.append)(Call("POST", "/otlp/v1/traces", {"content-type": kind}, body, now()))
    return answer.status, rows


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(
    ["resourceSpans", "resource", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key", "value", "intValue",
     "arrayValue", "kvlistValue", "values", "status", "code", "kind", "startTimeUnixNano"]
)  # fmt: skip
shapes = st.recursive(
    scalars | st.just(TRACE) | st.just(SPAN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(shapes, shapes.map(lambda value: document(attributes=value)), shapes.map(lambda v: document(kind=v))))
def test_any_json_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """Nothing raises, and what is taken can be written down."""
    status, rows = taken(json.dumps(value).encode(), JSON)
    assert status in (200, 400)
    assert status == 200 or not rows
    history = History(tmp_path_factory.mktemp("otlp"))
    for row in rows:
        history.add(row)
    history.close()
    assert history.folder is not None
    assert len(load(history.folder).rows(Span)) == len(rows)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    """Nothing raises, whatever they are called."""
    for kind in (PROTOBUF, JSON):
        assert taken(body, kind)[0] in (200, 400)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_export_is_taken_or_refused(data: st.DataObject) -> None:
    """A real body with some bytes changed, too."""
    made = ExportTraceServiceRequest()
    span = (
        made.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="x", start_time_unix_nano=time.time_ns()
        )
    )
    span.attributes.add(key="k").value.string_value = "v"
    body = bytearray(made.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert taken(bytes(body), PROTOBUF)[0] in (200, 400)


def test_the_sender_is_told_in_its_own_encoding() -> None:
    """A refusal of protobuf is a google.rpc.Status, whose message is field 2."""
    take: Callable[[Call], Any] = OtlpTaker(lambda row: None)
    answer = take(Call("POST", "/otlp/v1/traces", {"content-type": PROTOBUF}, b"\xff", now()))
    assert answer.headers["content-type"] == PROTOBUF
    assert answer.body[0] == 0x12
    assert answer.body[1] == len(answer.body) - 2
    assert answer.body[2:].startswith(b"no ExportTraceServiceRequest")
