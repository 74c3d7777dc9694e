"""The framing of HTTP/1.1: where each message of a byte stream begins and ends.

Used by the API (which reads bodies) and by the tap (which only watches). It holds at most one head of
:data:`MAX_HEAD` bytes and never a body.
"""

from __future__ import annotations

MAX_HEAD = 64 * 1024
_MAX_LINE = 1024

CHUNKED = -1
"""The body comes in chunks."""
UNTIL_CLOSE = -2
"""The body ends with the connection."""

_HEAD, _BODY, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILER, _ENDLESS = range(7)


class Malformed(ValueError):
    """This is not HTTP/1.1, or not any more, or more than we take. ``status`` is a server's answer to it."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Head:
    """First line and headers of a message."""

    __slots__ = ("_lower", "_text", "first_line")

    def __init__(self, data: bytes) -> None:
        """``data`` is everything before the blank line. Raises Malformed."""
        self._text = data.decode("latin-1")
        self._lower = self._text.lower()
        if len(self._lower) != len(self._text) or "\0" in self._text:
            raise Malformed("not a header")
        self.first_line, _, _ = self._text.partition("\r\n")

    def get(self, name: str) -> str | None:
        """The first header of that name (given in lower case), or None."""
        at = self._lower.find(f"\r\n{name}:")
        if at < 0:
            return None
        start = at + len(name) + 3
        end = self._text.find("\r\n", start)
        value = (self._text[start:] if end < 0 else self._text[start:end]).strip(" \t")
        # Headers are sent as UTF-8 where they are not ASCII.
        return value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")

    def body_length(self) -> int | None:
        """What the headers say of the body: a length, :data:`CHUNKED`, or None when they say nothing.

        Raises Malformed.
        """
        coding = self.get("transfer-encoding")
        if coding is not None:
            return CHUNKED if coding.lower().endswith("chunked") else None
        length = self.get("content-length")
        if length is None:
            return None
        if not (length.isascii() and length.isdigit()):
            raise Malformed("content-length")
        if len(length) > 18:
            raise Malformed("content-length", 413)
        others = self._lower.split("\r\ncontent-length:")[2:]
        if any(other.partition("\r\n")[0].strip(" \t") != length for other in others):
            raise Malformed("two lengths")
        return int(length)


class Messages:
    """Cuts a stream into messages. A subclass says how long a body is, and is told what comes."""

    max_head = MAX_HEAD

    def __init__(self) -> None:
        self._state = _HEAD
        self._held = b""
        self._left = 0
        self.stopped = False
        """Nothing is looked at any more (set by a subclass, or after Malformed)."""

    def on_start(self) -> None:
        """The first byte of a message."""

    def on_head(self, head: Head) -> int:
        """The head is whole: how long is the body? Bytes, CHUNKED or UNTIL_CLOSE. May raise Malformed."""
        raise NotImplementedError

    def on_body(self, data: memoryview) -> None:
        """A part of the body."""

    def on_end(self) -> None:
        """The last byte of a message."""

    @property
    def between(self) -> bool:
        """Before the end of a head."""
        return self._state == _HEAD

    @property
    def endless(self) -> bool:
        """In a body that ends with the connection."""
        return self._state == _ENDLESS

    def feed(self, data: memoryview) -> None:
        """More of the stream. Raises Malformed, once; what comes later is ignored."""
        try:
            while data and not self.stopped:
                data = data[self._step(data) :]
        except Malformed:
            self.stopped = True
            raise

    def _step(self, data: memoryview) -> int:
        """Bytes dealt with."""
        state = self._state
        if state in (_BODY, _CHUNK_DATA):
            size = min(self._left, len(data))
            self._left -= size
            self.on_body(data[:size])
            if not self._left:
                if state == _BODY:
                    self._finish()
                else:
                    self._state = _CHUNK_END
            return size
        if state == _HEAD:
            return self._take_head(data)
        if state == _ENDLESS:
            self.on_body(data)
            return len(data)
        return self._take_line(data)

    def _take_head(self, data: memoryview) -> int:
        before = len(self._held)
        if not before:
            if data[0] in b"\r\n":  # a blank line before a message is to be ignored
                return 1
            if not 0x41 <= data[0] <= 0x5A:
                raise Malformed("neither a method nor a version")
            self.on_start()
        held = self._held + bytes(data[: self.max_head + 4])
        end = held.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            if len(held) > self.max_head:
                raise Malformed("head too long", 431)
            self._held = held
            return len(data)
        self._held = b""
        length = self.on_head(Head(held[:end]))
        if self.stopped:
            pass
        elif length == CHUNKED:
            self._state = _CHUNK_SIZE
        elif length == UNTIL_CLOSE:
            self._state = _ENDLESS
        elif length:
            self._left = length
            self._state = _BODY
        else:
            self._finish()
        return end + 4 - before

    def _take_line(self, data: memoryview) -> int:
        """Chunk sizes, the ends of chunks, and trailers."""
        before = len(self._held)
        held = self._held + bytes(data[:_MAX_LINE])
        end = held.find(b"\r\n", max(0, before - 1))
        if end < 0:
            if len(held) > MAX_HEAD:
                raise Malformed("line too long")
            self._held = held
            return min(len(data), _MAX_LINE)
        self._held = b""
        line = held[:end]
        if self._state == _CHUNK_SIZE:
            self._left = _chunk_size(line)
            self._state = _CHUNK_DATA if self._left else _TRAILER
        elif self._state == _CHUNK_END:
            if line:
                raise Malformed("chunk too long")
            self._state = _CHUNK_SIZE
        elif not line:
            self._finish()
        return end + 2 - before

    def _finish(self) -> None:
        self._state = _HEAD
        self.on_end()


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
        raise Malformed("chunk size")
    return int(size, 16)
