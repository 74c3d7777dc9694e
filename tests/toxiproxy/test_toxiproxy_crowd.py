"""Thousands of connections at once, and whether one of them can starve the others."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.launch import server_command

CROWD = 5000

# An echo server in a process of its own: it must not share this process's descriptors, nor its interpreter.
ECHO = """
import resource, selectors, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
poll = selectors.DefaultSelector()
poll.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in poll.select():
        if key.fileobj is listener:
            sock, _ = listener.accept()
            poll.register(sock, selectors.EVENT_READ)
            continue
        try:
            data = key.fileobj.recv(65536)
            if data:
                key.fileobj.sendall(data)
        except OSError:
            data = b""
        if not data:
            poll.unregister(key.fileobj)
            key.fileobj.close()
"""


@pytest.fixture
def far() -> Iterator[str]:
    """The address of an echo server in another process."""
    process = subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield f"127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for both ends: ours, and the server's, which needs two for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CROWD + 100:
        pytest.skip(f"{CROWD} connections need {2 * CROWD + 100} open files, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_five_thousand_connections(start: Callable[..., Any], far: str) -> None:
    """All are held at once, data goes through each, twice; the API stays quick; all are gone afterwards."""
    with ExitStack() as stack:
        server = stack.enter_context(start(server_command()))
        port = server.listens({"name": "a", "upstream": far, "listen": "127.0.0.1:0"})
        before = server.rss()
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(CROWD)]
        for number in range(2):
            for at, sock in enumerate(socks):
                sock.sendall(b"%d-%d" % (number, at))
            for at, sock in enumerate(socks):
                assert sock.recv(100) == b"%d-%d" % (number, at)
        began = time.monotonic()
        counters = json.loads(server.call("GET", "/chaoskit/counters")[2])["a"]
        assert time.monotonic() - began < 1
        assert (counters["active"], counters["refused_upstream"]) == (CROWD, 0)
        assert (server.rss() - before) / CROWD < 16_000, "bytes for each connection"
        assert server.call("DELETE", "/proxies/a")[0] == 204
        for sock in socks:
            assert sock.recv(1) == b""


@contextlib.contextmanager
def flood(port: int) -> Iterator[Callable[[], int]]:
    """A connection that sends and reads as fast as it can; gives the bytes read so far."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    read = [0]

    def send() -> None:
        block = b"x" * 262_144
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(block)

    def receive() -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(262_144):
                read[0] += len(data)

    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: read[0]
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        sock.close()


def trips(socks: list[socket.socket], seconds: float) -> list[int]:
    """How many round trips each connection made, all at the same time."""
    counts = dict.fromkeys(socks, 0)
    with selectors.DefaultSelector() as poll:
        for sock in socks:
            poll.register(sock, selectors.EVENT_READ)
            sock.sendall(b"ping")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key, _ in poll.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                assert sock.recv(4) == b"ping"
                counts[sock] += 1
                sock.sendall(b"ping")
    return list(counts.values())


@pytest.mark.parametrize("toxic", [None, {"type": "latency", "attributes": {"latency": 1}}], ids=["fast", "toxic"])
def test_nobody_starves(start: Callable[..., Any], far: str, toxic: dict[str, Any] | None) -> None:
    """Beside one connection at full speed, 200 make round trips: each as often as the others, and so does the one."""
    with ExitStack() as stack:
        server = stack.enter_context(start(server_command()))
        port = server.listens({"name": "a", "upstream": far, "listen": "127.0.0.1:0"})
        if toxic:
            assert server.call("POST", "/proxies/a/toxics", toxic)[0] == 200
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(200)]
        alone = trips(socks, 1)
        for sock in socks:
            sock.recv(4)  # the one under way
        with flood(port) as read:
            wait_for(lambda: read() > 1_000_000, what="the flood", limit=10)
            at_first = read()
            beside = trips(socks, 2)
            flooded = read() - at_first
        assert min(beside) >= max(3, max(beside) / 4), "some starve beside others"
        assert sum(beside) / 2 >= sum(alone) / 20, "all starve beside the flood"
        assert flooded >= 2_000_000, "the flood starves beside the others"
        assert server.call("GET", "/proxies")[0] == 200
