"""What came back for one request, and whether it is what the operation calls good."""

from __future__ import annotations

import errno
import socket
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from chaoskit.base.json_values import ABSENT, at, same
from chaoskit.traffic.http1 import KEPT
from chaoskit.traffic.spec import Fallback, Operation

TIMEOUT = "timeout"
REFUSED = "refused"
RESET = "reset"
CLOSED = "closed"
UNSENT = "unsent"

CUT = "too long"
"""Why the rest of an answer's body is not there: what came, or what is kept of it, is shorter."""


class Answer(NamedTuple):
    """The end of one attempt.

    ``error`` is None when a whole answer came, else as in :class:`chaoskit.history.rows.Request`. ``value`` is
    the return value of a python operation.
    """

    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    size: int = 0
    error: str | None = None
    value: Any = ABSENT


def error_name(error: BaseException) -> str:
    """The word for ``error`` in a request's row."""
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return RESET
    if isinstance(error, socket.gaierror):
        return f"other: host not found ({error.strerror})"
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return "other: no free local port"
    if isinstance(error, OSError):
        return f"other: {error.strerror or error}"
    return f"other: {type(error).__name__}: {error}".rstrip(": ")


def unpack(answer: Answer) -> tuple[Answer, str]:
    """The answer with its body as it was before it was packed for the way; and why the rest of it is not there."""
    packed = answer.headers.get("content-encoding", "").strip().lower()
    if not answer.body or packed in ("", "identity"):
        return answer, CUT if len(answer.body) < answer.size else ""
    if packed not in ("gzip", "x-gzip", "deflate"):
        return answer, f"packed ({packed})"
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # with the head of either
    try:
        body = unpacker.decompress(answer.body, KEPT)
    except zlib.error:
        return answer, f"packed ({packed}), but not as it should be"
    rest = (not unpacker.eof and answer.error is None) or unpacker.unused_data
    return Answer(answer.status, answer.headers, body, answer.size, answer.error), CUT if rest else ""


def judge(operation: Operation, answer: Answer) -> tuple[bool, bool, dict[str, Any]]:
    """Whether ``answer`` is good, whether it came from a fallback, and the values of its JSON that are to be noted."""
    needs_json = operation.ok_json or operation.note_json or (operation.fallback and operation.fallback.json)
    document = _document(answer) if needs_json else ABSENT
    ok = answer.error is None and _status_ok(operation, answer) and _json_matches(operation.ok_json or {}, document)
    fallback = operation.fallback is not None and _is_fallback(operation.fallback, answer, document)
    noted = {path: value for path in operation.note_json if (value := at(document, path)) is not ABSENT}
    return ok, fallback, noted


def _status_ok(operation: Operation, answer: Answer) -> bool:
    if answer.status is None:  # a python operation: returning is success
        return True
    return answer.status in operation.ok_status if operation.ok_status else 200 <= answer.status < 300


def _is_fallback(fallback: Fallback, answer: Answer, document: Any) -> bool:
    return (
        answer.error is None
        and (fallback.status is None or answer.status == fallback.status)
        and all(answer.headers.get(name.lower()) == value for name, value in fallback.header.items())
        and _json_matches(fallback.json, document)
    )


def _document(answer: Answer) -> Any:
    if answer.value is not ABSENT:
        return answer.value
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return ABSENT


def _json_matches(expected: Mapping[str, Any], document: Any) -> bool:
    return all(same(at(document, path), value) for path, value in expected.items())
