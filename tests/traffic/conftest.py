"""Real servers for the traffic generator to talk to, and one generator for all tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from chaoskit.base.clock import now, sleep_until
from chaoskit.history.rows import Request, Row, Schedule
from chaoskit.traffic.generator import TrafficGenerator
from chaoskit.traffic.spec import Operation, Stream


@dataclass
class Seen:
    """A request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: str
    at: float


@dataclass
class Shop:
    """An aiohttp server in a thread. ``answer`` may be replaced by a test."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.path_qs, headers, body, asyncio.get_running_loop().time()))
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response({"made": {"id": 7}}, status=201)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A server that answers 201 to everything."""
    shop = Shop()
    loop = asyncio.new_event_loop()
    up = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", shop.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        await web.SockSite(runner, sock).start()
        shop.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        up.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert up.wait(10)
    yield shop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """``raw(serve)`` starts a TCP server that gives each connection to ``serve``, and returns its URL."""
    closing = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def accept() -> None:
            threads = []
            with suppress(OSError):
                while True:
                    thread = threading.Thread(target=one, args=(listener.accept()[0],))
                    thread.start()
                    threads.append(thread)
            for thread in threads:
                thread.join(10)

        thread = threading.Thread(target=accept)
        thread.start()
        closing.append((listener, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener, thread in closing:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)


@pytest.fixture(scope="session")
def worker() -> Iterator[TrafficGenerator]:
    """One worker process for all tests, as in a pytest run."""
    with TrafficGenerator(lambda row: None) as generator:
        yield generator


@dataclass
class Traffic:
    """The generator with the rows it emitted in this test."""

    generator: TrafficGenerator
    rows: list[Row] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def order(self, **given: Any) -> Operation:
        """A POST to the shop."""
        return Operation(**{"name": "order", "method": "POST", "url": "{{ shop.url }}/orders", "timeout": 5.0, **given})

    def run(self, shop: Shop, made: Operation, *streams: dict[str, Any], seed: int = 1, length: float = 1.0) -> float:
        """Send ``streams`` from a common start and end after ``length`` seconds. Returns the start."""
        self.generator.begin(seed, [made], {"shop": {"url": shop.url}, "skus": ["a", "b"]})
        start = now() + 0.1
        for number, stream in enumerate(streams):
            self.generator.stream(Stream(**{"id": f"s{number}", "op": made.name, "start": start, **stream}))
        sleep_until(start + length)
        self.generator.end()
        return start

    @property
    def requests(self) -> list[Request]:
        """The request rows, in the order of stream, number and copy."""
        rows = [row for row in self.rows if isinstance(row, Request)]
        return sorted(rows, key=lambda row: (row.op, row.stream, row.seq, row.copy))

    @property
    def schedules(self) -> list[Schedule]:
        """The schedule rows."""
        return [row for row in self.rows if isinstance(row, Schedule)]


@pytest.fixture
def traffic(worker: TrafficGenerator) -> Iterator[Traffic]:
    """The shared worker, recording rows for this test only."""
    traffic = Traffic(worker)
    worker.emit = traffic.rows.append
    yield traffic
    worker.abandon()
