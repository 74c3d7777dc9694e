"""Traffic goes to loopback and to what was allowed: judged where the worker connects, whatever a template comes to."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import Request
from chaoskit.traffic.commands import Begin
from chaoskit.traffic.generator import TrafficGenerator, spawn_worker
from chaoskit.traffic.spec import Operation, Stream
from chaoskit.traffic.worker import Worker

DATA = {"scheme": "http", "host": "192.0.2.77", "hosts": ["192.0.2.77"], "far": "api.example.com"}

URLS = [
    "http://192.0.2.77/",
    "http://{{ host }}/",
    '{{ scheme ~ "://" ~ host }}/',
    '{{ "http://" ~ pick(hosts) }}/',
    "http://192.0.2.{{ randint(70, 80) }}/",
    "http://t{{ seq }}.example.com/",
    "http://{% if true %}api.example.com{% endif %}/",
    "http://localhost@{{ host }}/",
    "http://127.0.0.1\\@{{ host }}/",
    "http://[::ffff:192.0.2.77]/",
    "http://0xc000024d/",
    "http://{{ far }}/",
]


def ask(generator: TrafficGenerator, operation: Operation, *hosts: str) -> Request:
    """The row of one request. Raises BrokenError as a run would."""
    rows: list[Any] = []
    generator.emit = rows.append
    generator.begin(1, [operation], DATA, hosts)
    generator.stream(Stream(id="s", op=operation.name, start=now(), count=1))
    wait_for(lambda: generator.check() or rows, what="the row", limit=10)
    generator.end()
    return next(row for row in rows if isinstance(row, Request))


@pytest.mark.parametrize("url", URLS)
def test_a_request_beyond_is_not_sent(traffic: Any, url: str) -> None:
    """The rehearsal is broken, and says where the request would have gone and how to allow it."""
    with pytest.raises(BrokenError, match="--chaos-allow") as caught:
        ask(traffic.generator, Operation(name="get", url=url, timeout=5.0))
    assert "192.0.2." in str(caught.value) or "example.com" in str(caught.value)


def test_what_is_allowed_is_tried(traffic: Any) -> None:
    """Whether it answers or not; the next session has its own hosts."""
    assert not ask(traffic.generator, Operation(name="get", url=URLS[0], timeout=0.2), "192.0.2.77").ok
    with pytest.raises(BrokenError, match=r"--chaos-allow 192\.0\.2\.77"):
        ask(traffic.generator, Operation(name="get", url=URLS[0], timeout=0.2), "192.0.2.78")


SOURCE = """
import asyncio, http.client, socket, threading

async def stream(host, port):
    _, writer = await asyncio.open_connection(host, port)
    writer.close()

async def blocking(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=0.5)
    connection.connect()
    connection.close()

async def thread(host, port):
    await asyncio.to_thread(lambda: socket.create_connection((host, port), timeout=0.5).close())

async def datagram(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"count:1|c", (host, port))
"""

WAYS = ["stream", "blocking", "thread", "datagram"]


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrafficGenerator]:
    """A worker of its own in a project folder with operations in Python."""
    (tmp_path / "reaching.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    with TrafficGenerator(lambda row: None, spawn_worker) as generator:
        yield generator


@pytest.mark.parametrize("way", WAYS)
def test_a_python_operation_stays_inside_too(generator: TrafficGenerator, way: str) -> None:
    """However it opens its connection; to loopback and to what was allowed, by number or by name, it may."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def made(host: str) -> Operation:
            return Operation(name=way, python=f"reaching:{way}", json={"host": host, "port": port}, timeout=0.7)

        for host, hosts in [("127.0.0.1", ()), ("localhost", ()), ("192.0.2.77", ("192.0.2.77",))]:
            assert ask(generator, made(host), *hosts).ok or host == "192.0.2.77"
        for host in ("192.0.2.77", "3221226061"):
            with pytest.raises(BrokenError, match=r"--chaos-allow (192\.0\.2\.77|3221226061)"):
                ask(generator, made(host), "192.0.2.78")


def test_a_python_operation_may_go_where_an_allowed_name_leads(generator: TrafficGenerator) -> None:
    """It connects to a number by then: the name is looked up to tell."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # 192.0.2.77 as a name that is no number as it stands
        operation = Operation(
            name="job", python="reaching:stream", json={"host": "3221226061", "port": listener.getsockname()[1]},
            timeout=0.7,
        )  # fmt: skip
        ask(generator, operation, "3221226061")


def test_a_unix_socket_is_this_machine(generator: TrafficGenerator, tmp_path: Path) -> None:
    """And may be used."""
    (tmp_path / "local.py").write_text(
        "import socket\nasync def ask(path):\n"
        "    with socket.socket(socket.AF_UNIX) as sock:\n        sock.connect(path)\n"
    )
    place = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        row = ask(generator, Operation(name="ask", python="local:ask", json={"path": place}))
    assert row.ok, row.error


def test_a_session_that_ends_late_does_not_end_the_next() -> None:
    """One that was refused is dropped while it ends; its cancellation may come in the moment in which it is done."""
    loop = asyncio.new_event_loop()
    command, rows = os.pipe(), os.pipe()
    worker = Worker(loop, command[0], rows[1])
    try:
        worker._begin(Begin(session=1, seed=1, operations=[]))
        first = worker._running()
        ending = loop.create_task(worker._end(first, 1.0))
        worker._begin(Begin(session=2, seed=1, operations=[]))
        loop.run_until_complete(ending)
        assert worker._running() is not first
    finally:
        gc.unfreeze()
        loop.close()
        for end in (*command, *rows):
            os.close(end)
