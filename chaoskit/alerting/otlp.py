"""Takes spans over OTLP/HTTP, as protobuf or JSON, and writes them into the history.

``POST PREFIX/v1/traces`` is what an exporter of OpenTelemetry sends when ``OTEL_EXPORTER_OTLP_ENDPOINT`` is
``{{ chaos.otlp_url }}``. Metrics and logs that it sends beside are taken and dropped: a 404 would only fill the
service's log. What cannot be read is answered as the protocol says (400, 405, 415), and a span without valid ids is
told as rejected.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from chaoskit.alerting import otlp_json, otlp_protobuf
from chaoskit.alerting.otlp_span import RawSpan
from chaoskit.alerting.receiver import Answer, Call
from chaoskit.base.clock import now
from chaoskit.base.units import counted
from chaoskit.history.rows import Row, Span

PREFIX = "/otlp"
MOST = 64 * 1024 * 1024
"""Bytes of the largest body once it is unpacked."""

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_READERS: Mapping[str, Callable[[bytes], Iterator[RawSpan]]] = {PROTOBUF: otlp_protobuf.read, JSON: otlp_json.read}
_DROPPED = ("/v1/metrics", "/v1/logs")


class OtlpTaker:
    """Answers calls below :data:`PREFIX` and emits a row for each span. May be called from several threads."""

    def __init__(self, emit: Callable[[Row], None]) -> None:
        self._emit = emit

    def __call__(self, call: Call) -> Answer:
        """Take one export."""
        path = urlsplit(call.path).path.removeprefix(PREFIX)
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if path != "/v1/traces" and path not in _DROPPED:
            return _refused(404, kind, f"OTLP is taken at {PREFIX}/v1/traces")
        if call.method != "POST":
            return _refused(405, kind, "an export is a POST")
        if kind not in _READERS:
            return _refused(415, kind, f"send {PROTOBUF} or {JSON}")
        if path in _DROPPED:
            return _taken(kind, 0)
        try:
            spans = list(_READERS[kind](_unpacked(call)))
        except RecursionError:
            return _refused(400, kind, "no ExportTraceServiceRequest: nested too deeply")
        except ValueError as error:
            return _refused(400, kind, str(error))
        # The exporter's clock is this machine's wall clock; the history's is the monotonic one.
        shift = time.time() - now()
        valid = [span for span in spans if span.valid]
        for span in valid:
            self._emit(_row(span, shift))
        return _taken(kind, len(spans) - len(valid))


def _unpacked(call: Call) -> bytes:
    """The body without its compression. Raises ValueError."""
    encoding = call.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return call.body
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"content-encoding {encoding!r} is not known; send gzip or deflate")
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # tells gzip from zlib by the header
        body = unpacker.decompress(call.body, MOST)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding}: {error}") from None
    if not unpacker.eof:
        raise ValueError(f"the body is cut off, or larger than {MOST} bytes")
    return body


def _row(span: RawSpan, shift: float) -> Span:
    return Span(
        service=span.service,
        name=span.name,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        started=span.start / 1e9 - shift,
        ended=span.end / 1e9 - shift,
        kind=span.kind,
        status=span.status,
        attributes=dict(span.attributes),
    )


def _taken(kind: str, rejected: int) -> Answer:
    why = f"{counted(rejected, 'spans')} without a valid trace or span id" if rejected else ""
    if kind == PROTOBUF:
        return Answer(200, otlp_protobuf.response(rejected, why), {"content-type": PROTOBUF})
    partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}} if rejected else {}
    return Answer(200, json.dumps(partial).encode(), {"content-type": JSON})


def _refused(status: int, kind: str, why: str) -> Answer:
    """An error with the body that the protocol wants: a ``google.rpc.Status`` in the sender's own encoding."""
    if kind == PROTOBUF:
        return Answer(status, otlp_protobuf.status(why), {"content-type": PROTOBUF})
    return Answer(status, json.dumps({"message": why}).encode(), {"content-type": JSON})
