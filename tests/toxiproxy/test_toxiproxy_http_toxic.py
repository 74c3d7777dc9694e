"""The toxic ``http``, with a real HTTP server behind it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from chaoskit.toxiproxy.facts import ProxyAddress
from chaoskit.toxiproxy.server.toxics.http import matches


class Handler(BaseHTTPRequestHandler):
    """Sends the body back, with the request's path in a header."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(control: Any) -> Iterator[tuple[ProxyAddress, list[str]]]:
    """A proxy ``w`` to a server, and the paths that the server has seen."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"seen": seen}))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield control.create_proxy("w", f"127.0.0.1:{server.server_port}"), seen
    finally:
        control.delete_proxy("w")
        control.create_proxy("w", "127.0.0.1:1")
        server.shutdown()
        thread.join()
        server.server_close()


def add(server: Any, **attributes: Any) -> tuple[int, str]:
    """Add the toxic; status and text of the API's answer."""
    status, _, text = server.call("POST", "/proxies/w/toxics", {"type": "http", "attributes": attributes})
    return status, text


def ask(connection: Any, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """One request on a kept-alive connection."""
    connection.request("POST" if body else "GET", path, body or None, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_answers_keep_the_connection_alive(server: Any, web: Any) -> None:
    """Matching requests are answered and never arrive, bodies included; the others pass; one connection."""
    address, seen = web
    assert add(server, status=503, path="/bad", first=3)[0] == 200
    large = b"x" * 300_000
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=10)) as connection:
        assert ask(connection, "/good", large) == (200, large)
        assert ask(connection, "/bad", large) == (503, b"503 Service Unavailable\n")
        sock = connection.sock
        assert ask(connection, "/bad")[0] == 503
        assert ask(connection, "/good", b"abc") == (200, b"abc")
        assert [ask(connection, "/bad")[0] for _ in range(2)] == [503, 200]
        assert connection.sock is sock
    assert seen == ["/good", "/good", "/bad"]


def test_pipelined_answers_keep_their_order(server: Any, web: Any) -> None:
    """An answer of the toxic waits for the earlier ones of the upstream; heads may come byte by byte."""
    address, _ = web
    add(server, status=404, header="x-hit", value="yes")
    plain = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d"
    hit = b"GET /b HTTP/1.1\r\nHost: x\r\nX-Hit: yes\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=10) as sock:
        sock.sendall(plain % 1 + hit + plain % 2 + hit[:10])
        for byte in hit[10:]:
            sock.sendall(bytes([byte]))
        received = b""
        while received.count(b"404 Not Found\n") < 2:
            received += sock.recv(65536)
    kinds = [line.split()[1] for line in received.split(b"\n") if b"HTTP/1.1" in line]
    assert kinds == [b"200", b"404", b"200", b"404"]


def test_delay_cut_and_share(server: Any, web: Any, control: Any, wire: Any) -> None:
    """A delayed request arrives late; a cut ends or resets the connection; share 0 takes none."""
    address, seen = web
    add(server, delay=100, method="get")
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=10)) as connection:
        began = time.monotonic()
        assert ask(connection, "/")[0] == 200
        assert time.monotonic() - began >= 0.1
    for cut, end in ((1, "fin"), (2, "reset")):
        server.call("PATCH", "/proxies/w/toxics/http_upstream", {"attributes": {"delay": 0, "cut": cut}})
        with socket.create_connection((address.host, address.port), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.end(sock) == end
    server.call("PATCH", "/proxies/w/toxics/http_upstream", {"attributes": {"share": 0}})
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=10)) as connection:
        assert ask(connection, "/")[0] == 200
    assert len(seen) == 2


def test_other_protocols_pass(server: Any, control: Any, upstream: Any, connect: Any, wire: Any) -> None:
    """What is not HTTP is not touched, nor counted as acted on."""
    address = control.create_proxy("w", upstream().address)
    add(server, status=500)
    wire.round_trip(connect(address), b"\x16\x03\x01 hello" * 100)
    assert control.counters()["w"].toxics["http_upstream"].connections == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 42},
        {"share": 2},
        {"cut": 3},
        {"path": "bad"},
        {"delay": -1},
        {"every": -1},
        {"method": 5},
        {"first": True},
    ],
)
def test_wrong_attributes(server: Any, control: Any, wrong: dict[str, Any]) -> None:
    """They are refused."""
    control.create_proxy("w", "127.0.0.1:1")
    assert add(server, **wrong)[0] == 400
    status, _, text = server.call("POST", "/proxies/w/toxics", {"type": "http", "stream": "downstream"})
    assert (status, "upstream only" in text) == (400, True)


@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("/a", "/a", True),
        ("/a", "/a?b=1", True),
        ("/a", "/ab", False),
        ("/a", "/b/a", False),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b/c?d", True),
        ("/a/*", "/a", False),
        ("*/c", "/a/b/c", True),
        ("*/c", "/a/c/b", False),
        ("/a*a", "/a", False),
        ("/a*a", "/aa", True),
        ("/*/x/*", "/1/x/2", True),
        ("/*/x/*", "/x/2", False),
        ("/a?b=*", "/a?b=1", True),
        ("/a?b=*", "/a", False),
        ("*", "/anything?at=all", True),
        ("/**c", "/abc", True),
        ("/(a+)+$", "/(a+)+$", True),
        ("/.", "/x", False),
    ],
)
def test_paths(pattern: str, target: str, expected: bool) -> None:
    """A star is any text, everything else itself; the query counts where the pattern has one."""
    assert matches(pattern, target) is expected


def test_no_pattern_holds_up_the_server() -> None:
    """The longest target and patterns made to be slow: a look takes no time to speak of."""
    target = "/" + "a" * 64_000
    began = time.monotonic()
    for pattern in (
        "/" + "*a" * 30_000 + "b",
        "/" + "*aa" * 10_000 + "*b",
        "*" * 60_000 + "b",
        "/*" + "a" * 30_000 + "b",
    ):
        assert not matches(pattern, target)
    assert time.monotonic() - began < 1


def test_which_requests(server: Any, web: Any) -> None:
    """``after``, ``every`` and ``first`` count matching requests, on whatever connection they come."""
    address, _ = web
    add(server, status=503, path="/bad", after=1, every=2, first=2)
    seen = []
    for _ in range(3):
        with closing(http.client.HTTPConnection(address.host, address.port, timeout=10)) as connection:
            assert ask(connection, "/good")[0] == 200
            seen += [ask(connection, "/bad")[0] for _ in range(2)]
    assert seen == [200, 200, 503, 200, 503, 200]


@pytest.mark.parametrize("holds", [False, True])
def test_an_answer_overtakes_what_is_held_behind(server: Any, web: Any, holds: bool) -> None:
    """The documented limit: what has reached the upstream is waited for, what a toxic behind holds back is not."""
    address, _ = web
    add(server, status=404, header="x-hit")
    if holds:
        server.call(
            "POST", "/proxies/w/toxics", {"type": "latency", "stream": "upstream", "attributes": {"latency": 100}}
        )
    with socket.create_connection((address.host, address.port), timeout=10) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nX-Hit: yes\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1 ") < 2:
            received += sock.recv(65536)
    kinds = [line.split()[1] for line in received.split(b"\n") if b"HTTP/1.1" in line]
    assert kinds == ([b"404", b"200"] if holds else [b"200", b"404"])
