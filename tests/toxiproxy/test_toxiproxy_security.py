"""Who may call the API, how much it takes, and clients that stop half-way."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Any

import pytest

from chaoskit.toxiproxy.launch import server_command


def raw(server: Any, text: bytes, limit: float = 15) -> bytes:
    """What the server says to ``text``, until it closes."""
    with socket.create_connection((server.host, server.port), timeout=limit) as sock:
        sock.sendall(text)
        received = b""
        while part := sock.recv(65536):
            received += part
        return received


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "127.0.0.9:8474"}, 200),
        ({"Host": "[::1]:8474"}, 200),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"User-Agent": "Mozilla/5.0"}, 403),
        ({}, 200),
    ],
)
def test_browsers_and_foreign_names(server: Any, header: dict[str, str], status: int) -> None:
    """Only loopback names are answered, and no page of a browser."""
    assert server.call("GET", "/proxies", None, header)[0] == status
    assert server.call("PUT", "/chaoskit/taps/none", "{}", header)[0] == (404 if status == 200 else 403)


def test_all_addresses_answer_to_any_name(start: Callable[..., Any]) -> None:
    """In a container the server is called by the name of its service."""
    command = server_command()
    command[command.index("127.0.0.1")] = "0.0.0.0"
    with start(command) as found:
        found.host = "127.0.0.1"
        assert found.call("GET", "/version", None, {"Host": "toxiproxy:8474"})[0] == 200


def test_the_token_guards_everything(start: Callable[..., Any]) -> None:
    """Metrics and chaoskit's own routes too."""
    with start([*server_command(), "-proxy-metrics"], {"TOXIPROXY_AUTH_TOKEN": "sécret"}) as locked:
        for path in ("/metrics", "/chaoskit/counters", "/chaoskit/events", "/version"):
            assert locked.call("GET", path)[0] == 401
            assert locked.call("GET", path, None, {"Authorization": "Bearer \u00fc"})[0] == 401
            assert locked.call("GET", path, None, {"Authorization": "Bearer sécret".encode()})[0] == 200


def test_limits(server: Any) -> None:
    """32 KiB of headers and 4 MiB of body, announced or not."""
    assert raw(server, b"GET / HTTP/1.1\r\nA: " + b"x" * 33_000).startswith(b"HTTP/1.1 431 ")
    head = b"POST /proxies HTTP/1.1\r\nHost: localhost\r\n"
    assert raw(server, head + b"Content-Length: 4194305\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert raw(server, head + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    fits = b" " * 4_194_304
    request = head + b"Connection: close\r\nContent-Length: 4194304\r\n\r\n" + fits
    assert b"bad request body: EOF" in raw(server, request)


def test_no_header_from_a_path(server: Any) -> None:
    """A path sent back in a redirect stays one header."""
    status, headers, _ = server.call("GET", "//a%0d%0aX-Evil:%201%0d%0a%C3%BC")
    assert (status, "x-evil" in headers) == (301, False)


def test_many_stalled_clients(server: Any, upstream: Any, control: Any, connect: Any, wire: Any) -> None:
    """Five hundred that stop in every place hold up neither the API nor the traffic."""
    proxy = connect(control.create_proxy("stalled", upstream().address))
    starts = [
        b"",
        b"GET /proxies HT",
        b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n{" + b" " * 20_000,
        b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40,
        b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfff",
    ]
    with ExitStack() as stack:
        for number in range(500):
            sock = stack.enter_context(socket.create_connection((server.host, server.port), timeout=10))
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.sendall(starts[number % len(starts)])
        times = []
        for _ in range(20):
            began = time.monotonic()
            assert server.call("GET", "/proxies")[0] == 200
            wire.round_trip(proxy)
            times.append(time.monotonic() - began)
    assert sorted(times)[10] < 0.5


def test_stalled_clients(server: Any) -> None:
    """They are closed after 10 s, trickling or silent, and nobody waits for them; an idle client may stay."""
    address = (server.host, server.port)
    idle = socket.create_connection(address, timeout=15)
    stalled = [socket.create_connection(address, timeout=15) for _ in range(3)]
    began = time.monotonic()
    stalled[0].sendall(b"GET /proxies HT")
    stalled[1].sendall(b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    stalled[2].sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000)
    stalled[2].shutdown(socket.SHUT_WR)
    while time.monotonic() - began < 8:
        stalled[1].sendall(b" ")
        asked = time.monotonic()
        assert server.call("GET", "/version")[0] == 200
        assert time.monotonic() - asked < 2
        time.sleep(0.5)  # the trickle itself is what is tested
    for sock in stalled[:2]:
        with sock:
            assert sock.recv(1) == b""
    assert 9.9 < time.monotonic() - began < 14
    stalled[2].close()
    with idle:
        idle.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_much_takes_turns(server: Any) -> None:
    """Thousands of requests in one go are all answered, and others meanwhile."""
    count = 5000
    asked = b"".join(b"GET /proxies/a/toxics/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in range(count))
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        asker = Thread(target=sock.sendall, args=(asked + b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n",))
        asker.start()
        received = sock.recv(1000)
        assert server.call("GET", "/version")[0] == 200
        while b"HTTP/1.1 200 OK" not in received:
            part = sock.recv(1 << 20)
            assert part, "the end before the last answer"
            received += part
        asker.join(10)
    assert received.count(b"HTTP/1.1 404 Not Found") == count
