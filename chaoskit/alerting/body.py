"""The body of a request as it comes over the wire: of a length told before, or in chunks (RFC 9112, 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from io import BufferedIOBase

_LINE = 8192
"""Bytes of the longest line between chunks."""


class BadBody(Exception):
    """A body that is not read. ``status`` is what HTTP has for it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read(stream: BufferedIOBase, headers: Mapping[str, str], most: int) -> bytes:
    """The whole body, at most ``most`` bytes. Raises :class:`BadBody`; the connection is of no use then."""
    coding = headers.get("transfer-encoding", "")
    if coding.strip().lower() == "chunked":
        return _chunked(stream, most)
    if coding:
        raise BadBody(501, "this transfer-encoding is not known")
    length = headers.get("content-length", "0").strip()
    if not (length.isascii() and length.isdecimal()):
        raise BadBody(400, "content-length is no number")
    if int(length) > most:
        raise BadBody(413, f"larger than {most} bytes")
    return _exactly(stream, int(length))


def _chunked(stream: BufferedIOBase, most: int) -> bytes:
    body = bytearray()
    while size := _size(stream.readline(_LINE)):
        if len(body) + size > most:
            raise BadBody(413, f"larger than {most} bytes")
        body += _exactly(stream, size)
        if stream.readline(_LINE).strip():
            raise BadBody(400, "a chunk is longer than it says")
    while stream.readline(_LINE).strip():
        pass  # trailers, which nobody here asks for
    return bytes(body)


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadBody(400, "the length of a chunk is no number")
    return int(digits, 16)


def _exactly(stream: BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise BadBody(400, "the body is cut off")
    return data
