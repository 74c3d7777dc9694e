"""``http``: answers, delays or cuts HTTP/1.1 requests."""

from __future__ import annotations

from http import HTTPStatus
from time import monotonic
from typing import Any

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.conditions import Conditions
from chaoskit.toxiproxy.server.decode import BodyError, Fields
from chaoskit.toxiproxy.server.http1 import Head, Malformed, Messages
from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep

_RETRY = 0.002  # seconds between looks at whether earlier answers are through (pipelining only)
_DEFAULTS: dict[str, Any] = {
    "status": 0, "delay": 0, "cut": 0, "method": "", "path": "", "header": "", "value": "", "share": 1,
    "after": 0, "every": 0, "first": 0,
}  # fmt: skip
_COUNTED = ("after", "every", "first")


class Http(Toxic):
    """Acts on requests that match ``method``, ``path`` (see :func:`matches`), ``header`` (is there) and ``value``
    (that header's, exactly); what is empty matches all.

    Of these, on all connections together, it skips ``after``, takes each ``every``-th of the rest, the ``first`` so
    many of those (0: no such condition), and of what is left the ``share`` (0 to 1).
    A request that is taken waits ``delay`` ms; then ``cut`` 1 closes the connection and 2 resets it; else
    ``status`` (200 to 599) is answered and the upstream never sees the request; else it goes on. Connections
    are kept alive. What is not HTTP/1.1 passes untouched.
    """

    STREAM = "upstream"
    ONLY_STREAM = True
    WATCHES_ANSWERS = True
    SELECTIVE = True

    def __init__(self) -> None:
        self._set = dict(_DEFAULTS)
        self._conditions = Conditions(None, None, None)

    def values(self) -> dict[str, Any]:
        """The attributes as the API shows them."""
        return dict(self._set)

    def read(self, fields: Fields) -> None:
        """Set the attributes that a body names. Raises BodyError, with nothing changed."""
        given = {name: value for name, value in fields.attributes().items() if name in _DEFAULTS}
        merged = {**self._set, **given}
        for name, default in _DEFAULTS.items():
            kinds = (int, float) if name == "share" else (type(default),)
            if type(merged[name]) not in kinds:
                raise BodyError(f"{name} must be a {'text' if default == '' else 'number'}")
        in_range = merged["status"] == 0 or 200 <= merged["status"] <= 599
        if not (in_range and 0 <= merged["share"] <= 1 and merged["cut"] in (0, 1, 2)):
            raise BodyError("status must be 0 or 200 to 599, share 0 to 1, cut 0, 1 or 2")
        if not (0 <= merged["delay"] < 2**53 and all(merged[name] >= 0 for name in _COUNTED)):
            raise BodyError("delay, after, every and first must not be negative, nor delay beyond 2^53")
        if merged["path"] and merged["path"][0] not in "/*":
            raise BodyError("path must begin with / or *")
        if any(name in given for name in _COUNTED):
            self._conditions = Conditions(*(merged[name] or None for name in _COUNTED))
        self._set = merged

    def takes(self, head: Head, stub: Stub) -> bool:
        """Whether the toxic acts on a request (and then it is counted)."""
        wanted = self._set
        method, _, rest = head.first_line.partition(" ")
        if wanted["method"] and method != wanted["method"].upper():
            return False
        if wanted["path"] and not matches(wanted["path"], rest.rpartition(" ")[0]):
            return False
        if wanted["header"]:
            found = head.get(wanted["header"].lower())
            if found is None or (wanted["value"] and found != wanted["value"]):
                return False
        if not self._conditions.next():
            return False
        return bool(wanted["share"] >= 1 or stub.random.random() < wanted["share"])

    def run(self, stub: Stub) -> Steps:
        """Cut the stream into requests, and forward those that are not taken as they come."""
        requests = _Requests()
        held = b""
        try:
            while (chunk := (yield NEXT)) is not None:
                held += chunk.data
                while held and not requests.stopped:
                    size = requests.look(held)
                    head = requests.head
                    if head is None:
                        if requests.swallowing:
                            held = held[size:]
                        elif requests.in_head:
                            break
                        else:
                            part, held = held[:size], held[size:]
                            stub.emit(Chunk(part, chunk.at))
                        continue
                    requests.head = None
                    requests.swallowing = False
                    if self.takes(head, stub):
                        stub.touch()
                        if self._set["delay"]:
                            yield sleep(monotonic() + self._set["delay"] / 1000)
                        if self._set["cut"]:
                            held = b""
                            if self._set["cut"] == 2:
                                stub.reset()
                            return
                        if self._set["status"]:
                            data, last = _answer(head, self._set["status"])
                            while not stub.answer(data):
                                yield sleep(monotonic() + _RETRY)
                            requests.swallowing = True
                            held = held[size:]
                            if last:
                                held = b""
                                return
                            continue
                    part, held = held[:size], held[size:]
                    stub.emit(Chunk(part, chunk.at))
                if requests.stopped and held:
                    stub.emit(Chunk(held, chunk.at))
                    held = b""
        finally:
            if held:
                stub.emit(Chunk(held, monotonic()))


def matches(pattern: str, target: str) -> bool:
    """Whether ``pattern``, in which ``*`` stands for any text, is all of ``target``.

    Without a ``?`` in the pattern the target's query does not count. One look from left to right, whatever the
    pattern: a regular expression could be made to hold up every connection of this server.
    """
    if "?" not in pattern:
        target = target.partition("?")[0]
    first, *pieces = pattern.split("*")
    if not pieces:
        return pattern == target
    last = pieces.pop()
    if not target.startswith(first):
        return False
    at = len(first)
    for piece in pieces:
        at = target.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(target) - at >= len(last) and target.endswith(last)


class _Requests(Messages):
    """Where requests begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.head: Head | None = None
        self.swallowing = False
        """The request that is under way is not forwarded."""
        self.in_head = False

    def on_head(self, head: Head) -> int:
        if not head.first_line.rpartition(" ")[2].startswith("HTTP/1."):
            raise Malformed("not a request")
        self.head = head
        return head.body_length() or 0

    def look(self, held: bytes) -> int:
        """Bytes of ``held`` that belong together: a head (then ``head`` is set), or a part of a body.

        ``in_head`` is set when the head is not whole: then ask again with more. Nothing is HTTP any more
        when ``stopped`` is set.
        """
        self._held = b"" if self.between else self._held
        between = self.between
        try:
            size = self._step(memoryview(held))
        except Malformed:
            self.stopped = True
            return 0
        self.in_head = between and self.head is None and bool(self._held)
        return size


def _answer(head: Head, status: int) -> tuple[bytes, bool]:
    """The answer to a request, and whether it is the connection's last."""
    asked = (head.get("connection") or "").lower()
    old = head.first_line.endswith("HTTP/1.0")
    # Who expects "100 Continue" may now keep the body to itself: the next request could not be found.
    last = asked == "close" or (old and asked != "keep-alive") or head.get("expect") is not None
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Status"
    lines = [f"HTTP/1.1 {status} {reason}", "X-Chaoskit-Toxic: http"]
    body = b""
    if status not in (204, 304):
        body = f"{status} {reason}\n".encode()
        lines += ["Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}"]
    if last:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    if head.first_line.startswith("HEAD "):
        body = b""
    return "\r\n".join([*lines, "", ""]).encode() + body, last
