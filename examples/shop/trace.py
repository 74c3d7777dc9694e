"""One trace id for a request in every process it crosses (W3C trace context)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(slots=True)
class Trace:
    """Who this unit of work belongs to.

    ``parent_id`` is the caller's span, empty for who begins the trace; ``last_call`` the span of the latest call.
    ``retry_count`` grows while it retries calls.
    """

    trace_id: str
    request_id: str
    parent_id: str = ""
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    last_call: str = ""
    retry_count: int = 0

    def headers(self) -> dict[str, str]:
        """What a call to another service carries beside the ``traceparent`` of its span."""
        return {"x-request-id": self.request_id, "x-retry-count": str(self.retry_count)}

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The trace of the running unit of work, or None outside of any."""
    return _current.get()


def begin(traceparent: str | None, request_id: str | None, retry_count: str | None = None) -> Trace:
    """Join the trace named by ``traceparent`` with a span of our own, or start a new one."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    trace = Trace(
        trace_id=match[1] if match else secrets.token_hex(16),
        request_id=request_id or secrets.token_hex(16),
        parent_id=match[2] if match else "",
        retry_count=int(retry_count) if retry_count and retry_count.isdecimal() else 0,
    )
    _current.set(trace)
    return trace


def begin_from_headers(headers: Mapping[str, str], *, join: bool = True) -> Trace:
    """Join the trace of an incoming HTTP request, or with ``join`` off start a new one."""
    traceparent = headers.get("traceparent") if join else None
    return begin(traceparent, headers.get("x-request-id"), headers.get("x-retry-count"))
