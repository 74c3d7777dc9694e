"""The HTTP tap and the rows it writes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaoskit.base.clock import wait_for
from chaoskit.history.rows import Connection, Exchange
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress

_names = (f"t{number}" for number in itertools.count())


@pytest.fixture
def script(control: ToxiproxyControl, upstream: Any, connect: Any) -> Callable[..., Any]:
    """``script(answer, ...)``: a tapped proxy to an upstream that sends the next answer for each read.

    Gives the address and a function that returns the exchanges seen (at least ``count``).
    """

    def begin(*answers: bytes, hold: bool = True) -> tuple[ProxyAddress, Callable[..., list[Exchange]]]:
        def serve(sock: Any) -> None:
            for answer in answers:
                if not sock.recv(65536):
                    return
                sock.sendall(answer)
            while hold and sock.recv(65536):
                pass

        name = next(_names)
        address = control.create_proxy(name, upstream(serve).address)
        control.set_tap(name, ["x-request-id", "x-other"], ["Idempotency-Key"])

        def seen(count: int = 1) -> list[Exchange]:
            return wait_for(
                lambda: found if len(found := exchanges(control, name)) >= count else None,
                what=f"{count} exchanges",
                limit=5,
            )

        return address, seen

    return begin


def exchanges(control: ToxiproxyControl, name: str) -> list[Exchange]:
    """The exchanges through a proxy that have ended."""
    return [row for row in control.events(0).rows if isinstance(row, Exchange) and row.proxy == name]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Request-ID:  r1 \r\nIdempotency-Key: k\r\n\r\n"


def test_one_exchange(script: Any, connect: Any, wire: Any, control: Any) -> None:
    """All fields of the row."""
    address, seen = script(OK)
    before = time.monotonic()
    sock = connect(address)
    sock.sendall(GET)
    assert wire.read(sock, len(OK)) == OK
    after = time.monotonic()
    (row,) = seen()
    assert (row.method, row.path, row.id, row.status, row.end) == ("GET", "/a?b=c", "r1", 200, "complete")
    assert row.headers == {"idempotency-key": "k"}
    assert before <= row.started <= row.sent <= row.answered <= row.ended <= after
    assert control.counters()[address.name].requests == 1


def test_keep_alive_and_pipelining(script: Any, connect: Any, wire: Any) -> None:
    """Several exchanges on a connection, also when they arrive together, in halves or byte by byte."""
    address, seen = script(OK, OK + OK, *[b""] * 200)
    sock = connect(address)
    sock.sendall(GET)
    assert wire.read(sock, len(OK)) == OK
    sock.sendall(GET.replace(b"r1", b"r2") + GET.replace(b"r1", b"r3"))
    assert wire.read(sock, 2 * len(OK)) == OK + OK
    assert [row.id for row in seen(3)] == ["r1", "r2", "r3"]
    for byte in GET.replace(b"r1", b"r4"):
        sock.sendall(bytes([byte]))
    sock.close()
    assert (seen(4)[3].id, seen(4)[3].end, seen(4)[3].status) == ("r4", "closed", None)


@pytest.mark.parametrize(
    ("request_head", "answer", "status"),
    [
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 200),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
            200,
        ),
        (b"GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500),
        (b"GET", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK, 200),
    ],
)
def test_ends_of_answers(script: Any, connect: Any, wire: Any, request_head: bytes, answer: bytes, status: int) -> None:
    """Where an answer ends depends on the method, the status and the headers; the next one is found."""
    address, seen = script(answer, OK)
    sock = connect(address)
    for data, expected in ((GET.replace(b"GET", request_head), answer), (GET, OK)):
        sock.sendall(data)
        assert wire.read(sock, len(expected)) == expected
    assert [(row.status, row.end) for row in seen(2)] == [(status, "complete"), (200, "complete")]


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 3\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        b"Content-Length: 0\r\n\r\n",
    ],
)
def test_requests_with_a_body(script: Any, connect: Any, wire: Any, body: bytes) -> None:
    """Bodies are skipped; the next request is found."""
    address, seen = script(OK, OK)
    sock = connect(address)
    for name in (b"one", b"two"):
        sock.sendall(b"POST /x HTTP/1.1\r\nX-Other: " + name + b"\r\n" + body)
        assert wire.read(sock, len(OK)) == OK
    assert [(row.method, row.id) for row in seen(2)] == [("POST", "one"), ("POST", "two")]


def test_answer_until_close(script: Any, connect: Any, wire: Any) -> None:
    """An answer without a length is whole when the upstream closes."""
    address, seen = script(b"HTTP/1.0 200 OK\r\n\r\nwhatever", hold=False)
    sock = connect(address)
    sock.sendall(GET)
    assert wire.end(sock) == "fin"
    assert (seen()[0].status, seen()[0].end) == (200, "complete")


def test_cut_answer(script: Any, connect: Any, wire: Any, control: Any) -> None:
    """The tap sees what the client sees: a cut answer is not complete, a swallowed one never came."""
    address, seen = script(OK)
    control.add_toxic(address.name, "cut", "limit_data", {"bytes": len(OK) - 2})
    sock = connect(address)
    sock.sendall(GET)
    wire.end(sock)
    assert (seen()[0].status, seen()[0].end) == (200, "closed")
    control.remove_toxic(address.name, "cut")
    control.add_toxic(address.name, "swallow", "timeout", {"timeout": 50})
    sock = connect(address)
    sock.sendall(GET)
    wire.end(sock)
    row = seen(2)[1]
    assert (row.status, row.answered, row.end) == (None, None, "closed")
    control.remove_toxic(address.name, "swallow")
    control.add_toxic(address.name, "reset", "reset_peer", {})
    sock = connect(address)
    sock.sendall(GET)
    wire.end(sock)
    assert seen(3)[2].end == "reset"


def test_requests_are_seen_before_toxics(script: Any, connect: Any, wire: Any, control: Any) -> None:
    """A request that a toxic swallows was an attempt of the client; times are the client's."""
    address, seen = script(OK)
    control.add_toxic(address.name, "late", "latency", {"latency": 100})
    sock = connect(address)
    sock.sendall(GET)
    wire.read(sock, len(OK))
    (row,) = seen()
    assert row.answered - row.sent >= 0.1
    control.add_toxic(address.name, "swallow", "timeout", {"timeout": 30}, stream="upstream")
    sock = connect(address)
    sock.sendall(GET)
    wire.end(sock)
    assert (seen(2)[1].id, seen(2)[1].status) == ("r1", None)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_client_that_gives_up_ends_its_exchange(
    script: Any, connect: Any, wire: Any, control: Any, stream: str
) -> None:
    """When it goes, and not when the delay lets its end through, or an answer that nobody waits for."""
    address, seen = script(OK)
    control.add_toxic(address.name, "late", "latency", {"latency": 1500}, stream=stream)
    sock = connect(address)
    sock.sendall(GET)
    time.sleep(0.1)
    sock.close()
    left = time.monotonic()
    (row,) = seen()
    assert time.monotonic() - left < 1.0, "written down when it went"
    assert (row.status, row.end) == (None, "closed")
    assert row.ended == pytest.approx(left, abs=0.1)
    wait_for(lambda: not control.counters()[address.name].active, what="the end of the connection", limit=5)
    assert len(exchanges(control, address.name)) == 1


@pytest.mark.parametrize("more", [0, 3])
def test_requests_on_a_connection_that_is_held(script: Any, connect: Any, wire: Any, control: Any, more: int) -> None:
    """They were sent: seen when they came, in pieces, and ended when the client went or it was answered at last."""
    address, seen = script(OK, OK)
    control.add_toxic(address.name, "hole", "blackhole", {})
    gone, kept = connect(address), connect(address)
    gone.sendall(GET.replace(b"r1", b"gone")[: 20 if more else None])
    kept.sendall(GET.replace(b"r1", b"kept"))
    if more:
        time.sleep(0.05)
        gone.sendall(GET.replace(b"r1", b"gone")[20:])
    time.sleep(0.1)
    gone.close()
    left = time.monotonic()
    (row,) = seen()
    assert (row.id, row.status, row.end) == ("gone", None, "closed")
    assert (row.started, row.ended) == (pytest.approx(left - 0.1, abs=0.1), pytest.approx(left, abs=0.1))
    control.remove_toxic(address.name, "hole")
    assert wire.read(kept, len(OK)) == OK
    assert [(row.id, row.status) for row in seen(2)] == [("gone", None), ("kept", 200)], "each once"
    kept.sendall(GET.replace(b"r1", b"next"))
    assert wire.read(kept, len(OK)) == OK
    assert seen(3)[2].id == "next"


def test_upgrade(script: Any, connect: Any, wire: Any) -> None:
    """After 101 the bytes are no HTTP; the exchange is complete and nothing else is seen."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    address, seen = script(switch + b"\0\1frames", OK, OK)
    sock = connect(address)
    sock.sendall(GET)
    assert wire.read(sock, len(switch) + 8) == switch + b"\0\1frames"
    sock.sendall(GET)
    assert wire.read(sock, len(OK)) == OK
    sock.close()
    assert [(row.status, row.end) for row in seen()] == [(101, "complete")]


def test_garbage_as_answer(script: Any, connect: Any, wire: Any) -> None:
    """The exchange has no answer; the bytes arrive."""
    address, seen = script(b"\0garbage", OK)
    sock = connect(address)
    sock.sendall(GET)
    assert wire.read(sock, 8) == b"\0garbage"
    sock.sendall(GET)
    assert wire.read(sock, len(OK)) == OK
    sock.close()
    assert seen()[0].status is None


def test_tap_on_a_live_connection(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """Switched on and off while the connection is open."""

    def serve(sock: Any) -> None:
        while sock.recv(65536):
            sock.sendall(OK)

    name = next(_names)
    sock = connect(control.create_proxy(name, upstream(serve).address))

    def exchange() -> None:
        sock.sendall(GET)
        assert wire.read(sock, len(OK)) == OK

    exchange()
    control.set_tap(name, ["x-request-id"], [])
    exchange()
    control.remove_tap(name)
    exchange()
    control.set_tap(name, [], ["x-request-id"])
    exchange()
    sock.close()
    rows = wait_for(lambda: found if len(found := exchanges(control, name)) > 1 else None, what="rows", limit=5)
    assert [(row.id, row.headers) for row in rows] == [("r1", {}), ("", {"x-request-id": "r1"})]


def test_large_bodies_are_whole(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """Tens of megabytes through the tap, with back-pressure."""
    body = bytes(range(256)) * 4096 * 20
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    name = next(_names)
    address = control.create_proxy(name, upstream(lambda sock: sock.recv(65536) and sock.sendall(answer)).address)
    control.set_tap(name, [], [])
    sock = connect(address)
    sock.sendall(GET)
    time.sleep(0.05)  # while nobody reads, the proxy has to hold back
    assert wire.read(sock, len(answer)) == answer
    rows = wait_for(lambda: exchanges(control, name), what="the row", limit=5)
    assert rows[0].end == "complete"
    assert rows[0].ended >= rows[0].answered + 0.001


def test_flush_shows_what_is_open(script: Any, connect: Any, wire: Any, control: Any) -> None:
    """Connections and exchanges under way are there with ``flush``, and again when they have ended."""
    address, seen = script(b"HTTP/1.1 200")
    sock = connect(address)
    sock.sendall(GET)
    wire.read(sock, 12)
    found = control.events(0, flush=True)
    mine = [row for row in found.open_rows if row.proxy == address.name]
    assert {type(row) for row in mine} == {Connection, Exchange}
    assert not [row for row in found.rows if row.proxy == address.name]
    assert not control.events(found.next).open_rows
    sock.close()
    assert seen()[0].answered is not None
    assert seen()[0].status is None


def test_cursor(script: Any, connect: Any, wire: Any, control: Any) -> None:
    """Each row is given out once when one goes on from ``next``."""
    address, seen = script(OK, OK)
    sock = connect(address)
    sock.sendall(GET)
    seen(1)
    first = control.events(0)
    assert control.events(first.next).rows == []
    sock.sendall(GET)
    seen(2)
    later = control.events(first.next)
    assert [type(row) for row in later.rows if row.proxy == address.name] == [Exchange]
    assert (later.next, later.dropped) == (first.next + len(later.rows), 0)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip  # a row that does not come is waited for: too slow to be shrunk
@given(
    first=st.integers(0, 9), pieces=st.lists(st.integers(1, 9), max_size=3), rest=st.booleans(), chunked=st.booleans(),
    status=st.sampled_from([200, 413, 503]),
)  # fmt: skip
def test_an_answer_that_is_whole_before_the_request(
    script: Any, connect: Any, wire: Any, first: int, pieces: list[int], rest: bool, chunked: bool, status: int
) -> None:
    """It is one exchange with its status, written down when the request is whole too, or the connection has ended."""
    answer = OK.replace(b"200", str(status).encode())
    address, seen = script(answer, *[b""] * 20)
    sock = connect(address)
    coding = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 40"
    body = b"28\r\n" + b"x" * 40 + b"\r\n0\r\n\r\n" if chunked else b"x" * 40
    sock.sendall(GET.replace(b"GET", b"POST").replace(b"Host: x", b"Host: x\r\n" + coding) + body[:first])
    assert wire.read(sock, len(answer)) == answer
    sent = first
    for size in pieces:
        sock.sendall(body[sent : sent + size])
        sent += size
    if rest:
        sock.sendall(body[sent:])
        (row,) = seen()
        assert row.started <= row.answered <= row.ended <= row.sent
    sock.close()
    (row,) = seen()
    assert (row.method, row.id, row.status, row.end) == ("POST", "r1", status, "complete")
    assert (row.sent is None) is not rest
