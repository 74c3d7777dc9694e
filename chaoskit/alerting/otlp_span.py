"""What both encodings of OTLP say of a span."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("", "internal", "server", "client", "producer", "consumer")
"""Names of ``Span.SpanKind`` by number."""
STATUSES = ("", "ok", "error")
"""Names of ``Status.StatusCode`` by number."""

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")


@dataclass(frozen=True)
class RawSpan:
    """A span as it was sent. ``start`` and ``end`` are nanoseconds of Unix time, ids lower-case hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    kind: str
    status: str
    attributes: Mapping[str, Any]

    @property
    def valid(self) -> bool:
        """Whether the ids are ones: of the right length, not zero."""
        parent = not self.parent_id or _SPAN_ID.fullmatch(self.parent_id)
        return bool(_TRACE_ID.fullmatch(self.trace_id) and _SPAN_ID.fullmatch(self.span_id) and parent)


def named(names: tuple[str, ...], number: int) -> str:
    """The name of an enumeration's number; empty for one that is not known (yet)."""
    return names[number] if 0 <= number < len(names) else ""
