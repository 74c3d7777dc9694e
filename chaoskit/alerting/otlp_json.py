"""OTLP's JSON encoding. It is not protobuf's own: ids are hex, enumerations are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from chaoskit.alerting.otlp_span import KINDS, STATUSES, RawSpan, named

Number = int | str
"""A 64-bit number may be sent as a text: JSON's numbers are not exact."""


class _Message(msgspec.Struct, rename="camel"):
    """Base of all messages. Unknown fields are ignored, as the protocol demands."""


class _Value(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number | None = None
    double_value: float | str | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Values(_Message):
    values: list[_Value] = []


class _Pair(_Message):
    key: str = ""
    value: _Value | None = None


class _Pairs(_Message):
    values: list[_Pair] = []


class _Resource(_Message):
    attributes: list[_Pair] = []


class _Status(_Message):
    code: int = 0


class _Span(_Message):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: Number = 0
    end_time_unix_nano: Number = 0
    attributes: list[_Pair] = []
    status: _Status | None = None


class _ScopeSpans(_Message):
    spans: list[_Span] = []


class _ResourceSpans(_Message):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _Request(_Message):
    resource_spans: list[_ResourceSpans] = []


_decoder = msgspec.json.Decoder(_Request)


def read(body: bytes) -> Iterator[RawSpan]:
    """The spans of an ``ExportTraceServiceRequest``. Raises ValueError when it is none."""
    try:
        request = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"no ExportTraceServiceRequest: {error}") from None
    for resource in request.resource_spans:
        attributes = _attributes(resource.resource.attributes) if resource.resource else {}
        service = str(attributes.get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield RawSpan(
                    service=service,
                    name=span.name,
                    trace_id=span.trace_id.lower(),
                    span_id=span.span_id.lower(),
                    parent_id=span.parent_span_id.lower(),
                    start=_whole(span.start_time_unix_nano),
                    end=_whole(span.end_time_unix_nano),
                    kind=named(KINDS, span.kind),
                    status=named(STATUSES, span.status.code if span.status else 0),
                    attributes=_attributes(span.attributes),
                )


def _attributes(pairs: Iterable[_Pair]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: _Value | None) -> Any:
    if value is None:
        return None
    if value.int_value is not None:
        return _whole(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values]
    if value.kvlist_value is not None:
        return _attributes(value.kvlist_value.values)
    plain = (value.string_value, value.bool_value, value.bytes_value)
    return next((part for part in plain if part is not None), None)


def _whole(number: Number) -> int:
    """Raises ValueError for what is no number, or one of more than 64 bits."""
    if abs(whole := int(number)) >= 1 << 64:
        raise ValueError("a number has more than 64 bits")
    return whole
