"""Toxics that come, change and go while connections are open, and how connections end."""

from __future__ import annotations

import socket
import time
from threading import Thread
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress


@pytest.fixture
def proxy(control: ToxiproxyControl, upstream: Any) -> ProxyAddress:
    """A proxy to an echo server."""
    return control.create_proxy("p", upstream().address)


def last_row(control: ToxiproxyControl, count: int = 1) -> Any:
    """The last of the rows of connections through ``p`` in this test (numbered on over the file)."""
    return wait_for(
        lambda: [row for row in control.events(0).rows if row.proxy == "p" and row.conn >= count][-1:],
        what="a row",
        limit=5,
    )[0]


def test_a_toxic_comes_and_goes(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """On one live connection, without loss."""
    sock = connect(proxy)
    assert wire.round_trip(sock) < 0.1
    control.add_toxic("p", "l", "latency", {"latency": 100})
    assert wire.round_trip(sock) >= 0.1
    control.update_toxic("p", "l", {"latency": 30})
    assert 0.03 <= wire.round_trip(sock) < 0.1
    assert control.remove_toxic("p", "l")
    assert not control.remove_toxic("p", "l")
    assert wire.round_trip(sock) < 0.03


@pytest.mark.parametrize("how", ["remove", "update", "reset"])
@pytest.mark.parametrize(
    ("kind", "attributes", "changed"),
    [
        ("latency", {"latency": 60_000}, {"latency": 0}),
        ("bandwidth", {"rate": 1}, {"rate": 0}),
        ("slicer", {"average_size": 1000, "delay": 60_000_000}, {"delay": 0}),
        ("reset_peer", {"timeout": 60_000}, {"timeout": 30_000}),
    ],
)
def test_what_waits_goes_on_at_once(
    control: Any, proxy: Any, connect: Any, wire: Any, how: str, kind: str, attributes: Any, changed: Any
) -> None:
    """Removing or updating a toxic lets go of the data it holds, in order and whole."""
    control.add_toxic("p", "t", kind, attributes)
    sock = connect(proxy)
    data = bytes(range(250)) * 100
    sock.sendall(data)
    wait_for(lambda: control.counters()["p"].toxics["t"].chunks, what="the toxic to hold data", limit=5)
    if how == "remove":
        control.remove_toxic("p", "t")
    elif how == "update":
        control.update_toxic("p", "t", changed)
    else:
        control.reset()
    began = time.monotonic()
    assert wire.read(sock, len(data)) == data
    assert time.monotonic() - began < 5


def test_no_byte_is_lost_under_changes(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """A stream stays whole and in order while toxics come, change and go on both directions."""
    sock = connect(proxy)
    data = b"".join(number.to_bytes(4, "big") for number in range(1_000_000))
    sender = Thread(target=sock.sendall, args=(data,))
    received = bytearray()
    reader = Thread(target=lambda: received.extend(wire.read(sock, len(data))))
    sender.start()
    reader.start()
    for round_ in range(8):
        for stream in ("upstream", "downstream"):
            name = f"{stream}{round_ % 3}"
            kind, attributes = [
                ("latency", {"latency": 5, "jitter": 5}),
                ("bandwidth", {"rate": 20_000}),
                ("slicer", {"average_size": 5000, "size_variation": 2000, "delay": 10}),
                ("noop", {}),
            ][round_ % 4]
            control.remove_toxic("p", name)
            control.add_toxic("p", name, kind, attributes, stream, toxicity=0.7)
            control.update_toxic("p", name, {}, toxicity=1.0)
    control.reset()
    sender.join(30)
    reader.join(30)
    assert bytes(received) == data


def test_disabling_closes_and_refuses(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """FIN for open connections, refusal for new ones, and all is well again afterwards."""
    sock = connect(proxy)
    wire.round_trip(sock)
    control.set_enabled("p", False)
    assert wire.end(sock) == "fin"
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert last_row(control).end == "disabled"
    control.set_enabled("p", True)
    wire.round_trip(connect(proxy))


def test_deleting_closes_and_refuses(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """A deleted proxy is gone."""
    sock = connect(proxy)
    wire.round_trip(sock)
    control.delete_proxy("p")
    assert wire.end(sock) == "fin"
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    with pytest.raises(BrokenError, match="proxy not found"):
        control.delete_proxy("p")


@pytest.mark.parametrize("target", ["127.0.0.1:1", "localhost:1", "no-such-host.invalid:80", "no port"])
def test_unreachable_upstream(control: Any, connect: Any, wire: Any, target: str) -> None:
    """The client connects, then sees the end of the stream; it is counted and written down."""
    address = control.create_proxy("p", target)
    before = control.counters()["p"].refused_upstream
    sock = connect(address)
    sock.settimeout(20)
    assert sock.recv(1) == b""
    wait_for(lambda: control.counters()["p"].refused_upstream == before + 1, what="the count", limit=5)
    assert last_row(control).end == "unreachable"


def test_upstream_ends(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """All data, then FIN, also through a latency; the row says who."""
    address = control.create_proxy("p", upstream(lambda sock: sock.sendall(b"x" * 100_000)).address)
    for latency in (0, 50):
        if latency:
            control.add_toxic("p", "l", "latency", {"latency": latency})
        sock = connect(address)
        assert len(wire.read(sock, 200_000)) == 100_000
    row = last_row(control)
    assert (row.end, row.received, row.reset) == ("upstream", 100_000, False)


def test_client_ends(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """The upstream sees the end; the row has the bytes and times."""
    before = time.monotonic()
    sock = connect(proxy)
    wire.round_trip(sock, b"12345")
    sock.close()
    row = last_row(control)
    assert (row.end, row.sent, row.received) == ("client", 5, 5)
    assert before <= row.opened <= row.ended <= time.monotonic()
    assert row.client.startswith("127.0.0.1:")


def test_client_resets(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """A RST from the client ends both sides; it was not the client that saw one."""
    sock = connect(proxy)
    wire.round_trip(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    row = last_row(control)
    assert (row.end, row.reset) == ("client", False)
    assert control.counters()["p"].active == 0


def test_back_pressure(control: Any, connect: Any, wire: Any, upstream: Any, server: Any) -> None:
    """An upstream that does not read stops the sender; nothing piles up in the proxy."""
    address = control.create_proxy("p", upstream(lambda sock: wire.read(sock, 1) and time.sleep(2)).address)
    sock = connect(address)
    before = server.rss()
    sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        sock.sendall(b"x" * 100_000_000)
    assert server.rss() - before < 20_000_000


def test_upstream_by_name(control: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """``localhost`` and looked-up names work as upstreams."""
    port = upstream().address.rpartition(":")[2]
    for name in ("localhost", socket.gethostname()):
        try:
            socket.create_connection((name, int(port)), timeout=1).close()
        except OSError:
            continue  # this machine's name is not a loopback address
        address = control.create_proxy(f"by-{name}", f"{name}:{port}")
        wire.round_trip(connect(address))


def test_a_thousand_connections(control: Any, connect: Any, wire: Any, proxy: Any, server: Any) -> None:
    """All work, under a toxic too, at small cost, and all are gone afterwards."""
    before = server.rss()
    socks = [connect(proxy) for _ in range(1000)]
    for sock in socks:
        sock.sendall(b"ping")
    assert all(wire.read(sock, 4) == b"ping" for sock in socks)
    assert control.counters()["p"].active == 1000
    assert server.rss() - before < 30_000_000
    control.add_toxic("p", "l", "latency", {"latency": 300})
    began = time.monotonic()
    for sock in socks:
        sock.sendall(b"ping")
    assert all(wire.read(sock, 4) == b"ping" for sock in socks)
    assert time.monotonic() - began < 5
    assert control.counters()["p"].toxics["l"].connections == 1000
    for sock in socks:
        sock.close()
    wait_for(lambda: control.counters()["p"].active == 0, what="the end of all", limit=10)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"HELLO\r\n\r\n",
        b"GET / FTP/1.1\r\n\r\n",
        b"A" * 200_000,
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_a_tap_passes_garbage_untouched(control: Any, connect: Any, wire: Any, upstream: Any, garbage: bytes) -> None:
    """What is not HTTP is not disturbed, and does not disturb later connections."""
    address = control.create_proxy("g", upstream().address)
    control.set_tap("g", [], [])
    sock = connect(address)
    sender = Thread(target=sock.sendall, args=(garbage,))
    sender.start()
    assert wire.read(sock, len(garbage)) == garbage
    sender.join()
    assert wire.round_trip(connect(address)) < 5
