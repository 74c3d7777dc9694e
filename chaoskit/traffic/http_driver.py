"""Sends HTTP requests over kept connections: one attempt each, no retries, no redirects.

The work of a request is callbacks on the loop, not a task, so that a thousand sends per second leave the
schedule alone. A connection that breaks under a request ends that request as ``reset`` or ``closed``, also
when it was a kept one: what the service saw is what the row says.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaoskit.base.blast_radius import BeyondError, BlastRadius
from chaoskit.traffic.answer import CLOSED, TIMEOUT, Answer, error_name
from chaoskit.traffic.http1 import BadAnswer, Response
from chaoskit.traffic.prepare import Origin, Prepared
from chaoskit.traffic.resolve import Resolver

if TYPE_CHECKING:
    import ssl

KEEP_IDLE = 1.0
"""Seconds after which an idle connection is closed: what a slow moment has opened is no leak of the service."""

Done = Callable[[Answer], None]


class HttpDriver:
    """A pool of connections and the requests on them. One that would lead beyond ``radius`` is told to ``refused``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, radius: BlastRadius, refused: Callable[[BeyondError], None]
    ) -> None:
        self.loop = loop
        self._refused = refused
        self.open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._resolver = Resolver(loop, radius)
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def send(self, request: Prepared, timeout: float, done: Done) -> None:
        """Send now; ``done`` is called exactly once, at the latest ``timeout`` seconds from now."""
        assert request.origin is not None
        attempt = Attempt(self.loop, request, timeout, done)
        connection = self._take(request.origin)
        if connection is not None:
            connection.begin(attempt)
        else:
            task = self.loop.create_task(self._connect(request.origin, attempt))
            attempt.connecting = task
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        """Drop every connection; requests under way are forgotten without an answer."""
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self.open):
            connection.forget()
        self._idle.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def release(self, connection: Connection) -> None:
        """``connection`` can carry the next request."""
        connection.idle_since = self.loop.time()
        self._idle.setdefault(connection.origin, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(KEEP_IDLE, self._sweep)

    def lost(self, connection: Connection) -> None:
        """``connection`` is gone."""
        self.open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)

    def _sweep(self) -> None:
        """Close what is idle for long; the longest idle stand first."""
        now, oldest = self.loop.time(), None
        for idle in self._idle.values():
            while idle and now - idle[0].idle_since >= KEEP_IDLE:
                idle.pop(0).forget()
            if idle:
                oldest = min(oldest or now, idle[0].idle_since)
        self._sweeper = None if oldest is None else self.loop.call_at(oldest + KEEP_IDLE, self._sweep)

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()  # the last one used: the others may rest and expire
            if self.loop.time() - connection.idle_since < KEEP_IDLE:
                return connection
            connection.forget()
        return None

    async def _connect(self, origin: Origin, attempt: Attempt) -> None:
        try:
            sock = await self._resolver.connect(origin.host, origin.port)
            try:
                tls = self._context() if origin.tls else None
                await self.loop.create_connection(
                    # The request goes with it: a peer that hangs up at once must not be missed.
                    lambda: Connection(self, origin, attempt),
                    sock=sock,
                    ssl=tls,
                    server_hostname=origin.host if tls else None,
                )
            except BaseException:
                sock.close()
                raise
        except (OSError, ValueError) as error:
            if isinstance(error, BeyondError):
                self._refused(error)
            attempt.finish(Answer(error=error_name(error)))
        attempt.connecting = None

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context()
        return self._tls


class Attempt:
    """One request under way: ends once, by an answer, an error or its timeout."""

    __slots__ = ("_done", "_timer", "connecting", "connection", "over", "request", "response")

    def __init__(self, loop: asyncio.AbstractEventLoop, request: Prepared, timeout: float, done: Done) -> None:
        self.request = request
        self.response = Response(request.method)
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.over = False
        self._done = done
        self._timer = loop.call_later(timeout, self._expire)

    def finish(self, answer: Answer) -> None:
        """Report ``answer``; later calls do nothing."""
        if not self.over:
            self.over = True
            self._timer.cancel()
            self._done(answer)

    def fail(self, error: str) -> None:
        """Report ``error`` with what had come of the answer by then."""
        response = self.response
        self.finish(Answer(response.status, response.headers, bytes(response.body), response.size, error))

    def succeed(self) -> None:
        """Report the whole answer."""
        response = self.response
        self.finish(Answer(response.status, response.headers, bytes(response.body), response.size))

    def forget(self) -> None:
        """End without a report."""
        self.over = True
        self._timer.cancel()

    def _expire(self) -> None:
        self.fail(TIMEOUT)
        if self.connecting is not None:
            self.connecting.cancel()
        if self.connection is not None:
            self.connection.forget()


class Connection(asyncio.Protocol):
    """One TCP (or TLS) connection carrying one request at a time, ``first`` as soon as it stands."""

    def __init__(self, driver: HttpDriver, origin: Origin, first: Attempt) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._driver = driver
        self._attempt: Attempt | None = first
        self._transport: asyncio.Transport | None = None

    def begin(self, attempt: Attempt) -> None:
        """Write the request of ``attempt``."""
        assert self._transport is not None
        self._attempt = attempt
        attempt.connection = self
        self._transport.write(attempt.request.wire)

    def forget(self) -> None:
        """Close at once; a request under way is not reported."""
        if self._attempt is not None:
            self._attempt.forget()
            self._attempt = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands: write the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._driver.open.add(self)
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self._attempt is not None
        if self._attempt.over:
            self.forget()
        else:
            self.begin(self._attempt)

    def data_received(self, data: bytes) -> None:
        """Part of an answer came."""
        attempt, transport = self._attempt, self._transport
        if attempt is None or transport is None:
            self.forget()  # bytes nobody asked for
            return
        try:
            if not attempt.response.feed(data):
                return
        except BadAnswer as error:
            attempt.fail(f"other: {error}")
            self.forget()
            return
        self._attempt = None
        if attempt.response.keep_alive and transport.get_write_buffer_size() == 0:
            self._driver.release(self)
        else:
            transport.abort()
        attempt.succeed()

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes itself after this."""
        attempt, self._attempt = self._attempt, None
        self._driver.lost(self)
        if attempt is None:
            return
        if attempt.response.eof():
            attempt.succeed()
        else:
            attempt.fail(CLOSED)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        attempt, self._attempt = self._attempt, None
        self._driver.lost(self)
        if attempt is not None:
            attempt.fail(CLOSED if error is None else error_name(error))
