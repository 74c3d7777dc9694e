"""The HTTP tap: watches the requests and answers of a connection, and changes nothing.

It sees what the client sees: requests as they arrive, before any toxic, also those of a connection that a toxic holds;
answers as they leave, after all of them. So an answer that a toxic swallows or cuts is an exchange without answer, and
so is one that comes after the client has gone: the exchange ends when it goes, not when a toxic lets that through.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaoskit.toxiproxy.server.http1 import UNTIL_CLOSE, Head, Malformed, Messages

if TYPE_CHECKING:
    from chaoskit.toxiproxy.server.link import Link


class TapConfig:
    """Which header identifies a request (the first that is there), and which are noted. Names in lower case.

    ``mirror``: a reset by one side reaches the other as a reset, and an upstream that cannot be connected
    resets the client; Toxiproxy closes in these cases.
    """

    def __init__(self, id_headers: list[str], note_headers: list[str], mirror: bool = False) -> None:
        self.id_headers = [name.lower() for name in id_headers]
        self.note_headers = [name.lower() for name in note_headers]
        self.mirror = mirror


class _Exchange:
    """A request and its answer, as far as they have come."""

    __slots__ = (
        "answered",
        "ended",
        "headers",
        "id",
        "method",
        "path",
        "sent",
        "started",
        "status",
        "written",
    )

    def __init__(self, started: float) -> None:
        self.started = started
        self.method = ""
        self.path = ""
        self.id = ""
        self.headers: dict[str, str] = {}
        self.sent: float | None = None
        self.answered: float | None = None
        self.ended: float | None = None
        self.status: int | None = None
        self.written = False


class Tap:
    """The tap of one connection. What is not HTTP/1.1 ends the watching of its direction, never the traffic."""

    def __init__(self, link: Link, config: TapConfig) -> None:
        self.link = link
        self.config = config
        self.now = 0.0
        self.waiting: deque[_Exchange] = deque()
        """Exchanges without their whole answer, oldest first; HTTP answers in order."""
        self._requests = _Requests(self)
        self._answers = _Answers(self)
        self._peeked = 0

    def peeked(self, data: memoryview, now: float) -> None:
        """All that the client has sent so far, and that will be read only when its connection is let go on."""
        new = data[self._peeked :]
        self._peeked = len(data)
        self.now = now
        self._feed(self._requests, new)

    def request_bytes(self, data: memoryview, now: float) -> None:
        """The client has sent something."""
        known = min(self._peeked, len(data))
        self._peeked -= known
        self.now = now
        self._feed(self._requests, data[known:])

    def answer_bytes(self, data: memoryview, now: float) -> None:
        """Something has been sent to the client."""
        self.now = now
        # An answer that nobody asked for, or one whose request came before the tap: not ours.
        if self.waiting:
            self._feed(self._answers, data)

    def stop(self) -> None:
        """The connection has left HTTP (Upgrade, CONNECT)."""
        self._requests.stopped = self._answers.stopped = True

    def begin(self, exchange: _Exchange) -> None:
        """A request has come."""
        self.waiting.append(exchange)
        self.link.proxy.count.requests += 1

    def finish(self, exchange: _Exchange, end: str, at: float) -> None:
        """Write the exchange down."""
        exchange.written = True
        self.link.proxy.ledger.add("exchanges", self._row(exchange, end, at))

    def connection_ended(self, clean: bool, reset: bool) -> None:
        """The client's side is closed; ``clean`` when the upstream ended it of its own accord."""
        now = monotonic()
        while self.waiting:
            exchange = self.waiting.popleft()
            if clean and exchange.status is not None and self._answers.endless:
                end = "complete"
            else:
                end = "reset" if reset else "closed"
            self.finish(exchange, end, now)
        self._requests.answered_early()
        self.stop()

    def open_rows(self) -> list[dict[str, Any]]:
        """The exchanges that are under way, as rows that end now."""
        now = monotonic()
        return [self._row(exchange, "closed", now) for exchange in self.waiting]

    def _feed(self, messages: Messages, data: memoryview) -> None:
        try:
            messages.feed(data)
        except Malformed:
            if messages is self._answers:
                self.stop()

    def _row(self, exchange: _Exchange, end: str, at: float) -> dict[str, Any]:
        """The fields of :class:`chaoskit.history.rows.Exchange`."""
        return {
            "proxy": self.link.proxy.name,
            "conn": self.link.number,
            "method": exchange.method,
            "path": exchange.path,
            "id": exchange.id,
            "started": exchange.started,
            "sent": exchange.sent,
            "answered": exchange.answered,
            "ended": at,
            "status": exchange.status,
            "end": end,
            "headers": exchange.headers,
        }


class _Requests(Messages):
    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap
        self._exchange = _Exchange(0.0)

    def on_start(self) -> None:
        self._exchange = _Exchange(self._tap.now)

    def on_head(self, head: Head) -> int:
        method, _, rest = head.first_line.partition(" ")
        path, _, version = rest.rpartition(" ")
        if not method.isalpha() or not version.startswith("HTTP/1.") or not path:
            raise Malformed("not a request")
        length = head.body_length() or 0
        exchange, config = self._exchange, self._tap.config
        exchange.method = method
        exchange.path = path
        for name in config.id_headers:
            value = head.get(name)
            if value is not None:
                exchange.id = value
                break
        for name in config.note_headers:
            value = head.get(name)
            if value is not None:
                exchange.headers[name] = value
        self._tap.begin(exchange)
        return length

    def on_end(self) -> None:
        self._exchange.sent = self._tap.now
        self.answered_early()

    def answered_early(self) -> None:
        """Write down a request whose answer was whole before the request was."""
        exchange = self._exchange
        if exchange.ended is not None and not exchange.written:
            self._tap.finish(exchange, "complete", exchange.ended)


class _Answers(Messages):
    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap
        self._interim = False

    def on_start(self) -> None:
        if not self._tap.waiting:
            raise Malformed("an answer without a request")
        self._tap.waiting[0].answered = self._tap.now

    def on_head(self, head: Head) -> int:
        version, _, rest = head.first_line.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (len(code) == 3 and code.isascii() and code.isdigit()):
            raise Malformed("not an answer")
        status = int(code)
        exchange = self._tap.waiting[0]
        self._interim = 100 <= status < 200 and status != 101
        if self._interim:
            return 0
        exchange.status = status
        if status == 101 or (exchange.method == "CONNECT" and status < 300):
            self.on_end()
            self._tap.stop()
            return 0
        if exchange.method == "HEAD" or status in (204, 304):
            return 0
        length = head.body_length()
        return UNTIL_CLOSE if length is None else length

    def on_end(self) -> None:
        if self._interim:
            return
        exchange = self._tap.waiting.popleft()
        exchange.ended = self._tap.now
        if exchange.sent is not None:
            self._tap.finish(exchange, "complete", exchange.ended)


class Unanswered(Tap):
    """Watches the upstream's side and writes nothing down: which requests it has not answered yet."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, TapConfig([], []))

    def begin(self, exchange: _Exchange) -> None:
        """A request has gone to the upstream."""
        self.waiting.append(exchange)

    def finish(self, exchange: _Exchange, end: str, at: float) -> None:
        """Not written down."""
