"""OTLP's binary encoding, by the classes that OpenTelemetry generates from its definition."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chaoskit.alerting.otlp_span import KINDS, STATUSES, RawSpan, named

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


def read(body: bytes) -> Iterator[RawSpan]:
    """The spans of an ``ExportTraceServiceRequest``. Raises ValueError when it is none."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield RawSpan(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    kind=named(KINDS, span.kind),
                    status=named(STATUSES, span.status.code),
                    attributes=_attributes(span.attributes),
                )


def response(rejected: int, why: str) -> bytes:
    """An ``ExportTraceServiceResponse``; empty when all was taken."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTracePartialSuccess,
        ExportTraceServiceResponse,
    )

    if not rejected:
        return b""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=why)
    return bytes(ExportTraceServiceResponse(partial_success=partial).SerializeToString())


def status(message: str) -> bytes:
    """A ``google.rpc.Status`` with its field ``message`` (number 2, text) alone."""
    text = message.encode()[:100]  # its length then fits in one byte
    return bytes([2 << 3 | 2, len(text)]) + text


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
