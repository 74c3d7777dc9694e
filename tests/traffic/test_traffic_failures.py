"""How a request can fail on the network, each with its own word, and never with a second attempt."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.history.rows import Request
from chaoskit.traffic.spec import Operation, Stream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Serve = Callable[[Callable[[socket.socket], None]], str]


def request(
    traffic: Any, url: str, *, count: int = 1, rate: float = 20.0, hosts: tuple[str, ...] = (), **given: Any
) -> list[Request]:
    """``count`` GETs, one after the other; to ``hosts`` beyond loopback, too."""
    made = Operation(**{"name": "get", "url": url, "timeout": 5.0, **given})
    traffic.begin(1, [made], {}, hosts)
    traffic.stream(Stream(id="s", op="get", start=now(), rate=rate, count=count))
    wait_for(lambda: len(traffic.requests) == count, what="the rows", limit=20)
    traffic.end()
    rows: list[Request] = traffic.requests
    return rows


def reset(connection: socket.socket) -> None:
    """Close ``connection`` with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_timeout_counts_from_the_send(traffic: Any, raw: Serve) -> None:
    """A server that never answers gives ``timeout`` after just that time, and the connection is given up."""
    closed = []

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        closed.append(connection.recv(65536))

    (row,) = request(traffic, raw(serve), timeout=0.3)
    assert (row.error, row.status, row.ok) == ("timeout", None, False)
    assert 0.3 <= row.ended - row.sent < 0.6
    wait_for(lambda: closed == [b""], what="the connection's end", limit=5)


def test_timeout_in_the_middle_of_an_answer(traffic: Any, raw: Serve) -> None:
    """What had come by then is in the row."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart")
        connection.recv(65536)

    (row,) = request(traffic, raw(serve), timeout=0.3)
    assert (row.error, row.status, row.body, row.ok) == ("timeout", 200, "part", False)


def test_timeout_while_connecting(traffic: Any) -> None:
    """A host whose queue of connections is full does not answer the first packet at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        (row,) = request(traffic, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3)
        for filler in fillers:
            filler.close()
    assert row.error == "timeout"
    assert 0.3 <= row.ended - row.sent < 0.6


def test_refused(traffic: Any) -> None:
    """Nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (row,) = request(traffic, f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert (row.error, row.status, row.ok) == ("refused", None, False)


@pytest.mark.parametrize("sent", [b"", OK[:10], OK[:-1]])
@pytest.mark.parametrize(("end", "word"), [(reset, "reset"), (socket.socket.close, "closed")])
def test_broken_answers(traffic: Any, raw: Serve, sent: bytes, end: Callable[[socket.socket], None], word: str) -> None:
    """A RST and a FIN are told apart, before the answer, in its head and in its body."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        time.sleep(0.05)  # a RST would overtake bytes that were not read yet
        end(connection)

    (row,) = request(traffic, raw(serve))
    assert (row.error, row.ok) == (word, False)


@pytest.mark.parametrize("end", [reset, socket.socket.close])
def test_a_peer_that_hangs_up_at_once(traffic: Any, raw: Serve, end: Callable[[socket.socket], None]) -> None:
    """However soon the end comes after the accept, it is seen at once and not taken for a timeout."""
    rows = request(traffic, raw(end), count=50, rate=200.0)
    assert {row.error for row in rows} <= {"reset", "closed"}
    assert max(row.ended - row.sent for row in rows) < 2


def test_a_stale_connection_is_not_retried(traffic: Any, raw: Serve) -> None:
    """When a kept connection breaks under the next request, that request failed: it is not sent again."""
    received = []

    def serve(connection: socket.socket) -> None:
        received.append(connection.recv(65536))
        connection.sendall(OK)
        received.append(connection.recv(65536))

    first, second = request(traffic, raw(serve), count=2)
    assert first.ok
    assert (second.error, second.ok) == ("closed", False)
    assert len(received) == 2


def test_a_connection_closed_between_requests_is_replaced(traffic: Any, raw: Serve) -> None:
    """A connection that was seen to close is not used again."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK)

    rows = request(traffic, raw(serve), count=3, rate=5.0)
    assert [row.error for row in rows] == [None] * 3


def test_an_answer_that_ends_with_the_connection(traffic: Any, raw: Serve) -> None:
    """Without a length the close is the proper end."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    (row,) = request(traffic, raw(serve))
    assert (row.error, row.body, row.ok) == (None, "all of it", True)


def test_what_is_not_http(traffic: Any, raw: Serve) -> None:
    """Another protocol's greeting is named."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.recv(65536)
        connection.recv(65536)

    (row,) = request(traffic, raw(serve))
    assert row.error is not None
    assert row.error.startswith("other: ") or row.error == "closed"
    assert not row.ok


def test_unknown_host(traffic: Any) -> None:
    """A name without an address is its own error, not a refusal."""
    (row,) = request(traffic, "http://no-such-host.invalid/", hosts=("no-such-host.invalid",))
    assert row.error is not None
    assert row.error.startswith("other: host not found")


def test_host_by_name(traffic: Any, shop: Any) -> None:
    """``localhost`` reaches a server that listens on 127.0.0.1 only."""
    rows = request(traffic, shop.url.replace("127.0.0.1", "localhost"), count=3)
    assert [row.status for row in rows] == [201] * 3
