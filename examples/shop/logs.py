"""Structured log: one JSON object per line on standard output."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog

from shop import trace

log = structlog.get_logger()

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def configure(service: str, level: str, *, traced: bool = True) -> None:
    """Send this process's log, and that of the libraries it uses, to standard output as JSON."""

    def complete(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Add what every line must carry, first, so that lines read alike."""
        here = trace.current() if traced else None
        return {
            "timestamp": event.pop("timestamp"),
            "level": method,
            "trace_id": here.trace_id if here else "",
            "span_id": here.span_id if here else "",
            "service": service,
            "event": event.pop("event"),
            "retry_count": here.retry_count if here else 0,
            **event,
        }

    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), complete, _stack, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)


def _stack(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn an exception into text under ``stack``."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {error}"
        event["stack"] = "".join(traceback.format_exception(error))
    return event


def _render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return _encode(event)


class _Forward(logging.Handler):
    """Libraries log through ``logging``; their lines take the same shape as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        method = log.error if record.levelno >= logging.ERROR else log.warning
        method(record.getMessage(), logger=record.name, exc_info=record.exc_info)
