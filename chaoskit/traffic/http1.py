"""One HTTP/1.x answer, parsed as it comes in.

A parser of our own instead of a client library: a rehearsal must know which bytes came before a connection
broke, must never retry, and costs a quarter of the CPU this way.
"""

from __future__ import annotations

import re

KEPT = 1 << 20
"""Bytes of a body that are kept; further ones are only counted."""

_HEAD_LIMIT = 256 * 1024
_LINE_LIMIT = 8 * 1024
_HEX = re.compile(rb"[0-9a-fA-F]{1,15}")


class BadAnswer(ValueError):
    """What came is not HTTP; the text says why."""


class Response:
    """An answer under way. ``status`` is None until the head is whole; ``size`` counts the body's bytes."""

    __slots__ = (
        "_buffer",
        "_head_only",
        "_left",
        "_state",
        "body",
        "headers",
        "keep_alive",
        "size",
        "status",
    )

    def __init__(self, method: str) -> None:
        self._head_only = method == "HEAD"
        self._buffer = bytearray()
        self._state = self._head
        self._left = 0
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.size = 0
        self.keep_alive = False

    @property
    def begun(self) -> bool:
        """Whether any byte of the answer came."""
        return self.status is not None or bool(self._buffer)

    def feed(self, data: bytes) -> bool:
        """Take ``data``; True when the answer is whole. Raises BadAnswer."""
        self._buffer += data
        whole = self._state()
        if whole and self._buffer:
            self.keep_alive = False  # bytes nobody asked for: the connection is out of step
        return whole

    def eof(self) -> bool:
        """The peer has closed; True when that is the proper end of this answer."""
        return self._state == self._until_eof

    def _head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise BadAnswer("the head of the answer is too long")
                if self._buffer and not b"HTTP/".startswith(bytes(self._buffer[:5])):
                    raise BadAnswer(f"not an HTTP answer: {bytes(self._buffer[:40])!r}")
                return False
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            version, status = _status_line(lines[0])
            if status >= 200 or status == 101:
                break
        self.status = status
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadAnswer(f"not a header: {line[:80]!r}")
            name, value = name.strip().lower(), value.strip()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        options = self.headers.get("connection", "").lower()
        self.keep_alive = "close" not in options if version == "HTTP/1.1" else "keep-alive" in options
        return self._body()

    def _body(self) -> bool:
        if self._head_only or self.status in (101, 204, 304):
            return True
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._state = self._chunk_size
        elif (length := self.headers.get("content-length")) is not None:
            if not length.isdecimal():
                raise BadAnswer(f"not a content-length: {length[:40]!r}")
            self._left = int(length)
            self._state = self._counted
        else:
            self.keep_alive = False
            self._state = self._until_eof
        return self._state()

    def _take(self, count: int) -> None:
        self.size += count
        room = KEPT - len(self.body)
        if room > 0:
            self.body += self._buffer[: min(count, room)]
        del self._buffer[:count]

    def _counted(self) -> bool:
        count = min(self._left, len(self._buffer))
        self._left -= count
        self._take(count)
        return self._left == 0

    def _until_eof(self) -> bool:
        self._take(len(self._buffer))
        return False

    def _chunk_size(self) -> bool:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            text = bytes(self._buffer[:end]).partition(b";")[0].strip()
            if not _HEX.fullmatch(text):
                raise BadAnswer(f"not a chunk size: {text[:40]!r}")
            self._left = int(text, 16)
            del self._buffer[: end + 2]
            if self._left == 0:
                self._state = self._trailer
                return self._trailer()
            self._left += 2  # the line end after the chunk
            self._state = self._chunk
            if not self._fill_chunk():
                return False
        if len(self._buffer) > _LINE_LIMIT:
            raise BadAnswer("the line of a chunk size does not end")
        return False

    def _chunk(self) -> bool:
        return self._fill_chunk() and self._chunk_size()

    def _fill_chunk(self) -> bool:
        """Move what is there of the current chunk; True when the chunk is whole."""
        if self._left > 2:
            count = min(self._left - 2, len(self._buffer))
            self._left -= count
            self._take(count)
        if self._left > 2 or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadAnswer(f"a chunk is longer than it said: {bytes(self._buffer[:40])!r}")
        del self._buffer[:2]
        self._state = self._chunk_size
        return True

    def _trailer(self) -> bool:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            del self._buffer[: end + 2]
            if end == 0:
                return True
        return False


def _status_line(line: str) -> tuple[str, int]:
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal() or len(rest[:3]) != 3:
        raise BadAnswer(f"not an HTTP answer: {line[:80]!r}")
    return version, int(rest[:3])
