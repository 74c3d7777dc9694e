"""Each toxic on the wire, in both directions: the same for the embedded server and for the original."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress

STREAMS = pytest.mark.parametrize("stream", ["upstream", "downstream"])


@pytest.fixture
def proxy(both: ToxiproxyControl, upstream: Any) -> ProxyAddress:
    """A proxy to an echo server: data passes both directions."""
    return both.create_proxy("p", upstream().address)


@pytest.fixture
def toxic(both: ToxiproxyControl) -> Callable[..., None]:
    """``toxic(type, stream, **attributes)`` adds one, named after its type."""

    def add(kind: str, stream: str = "downstream", **attributes: int) -> None:
        both.add_toxic("p", kind, kind, attributes, stream)

    return add


@STREAMS
def test_latency(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """Each round trip takes the latency, never less; two directions add up; connecting takes none."""
    toxic("latency", stream, latency=60)
    began = time.monotonic()
    sock = connect(proxy)
    assert time.monotonic() - began < 0.06
    assert 0.06 <= min(wire.round_trip(sock) for _ in range(4)) < 0.1


def test_latency_of_both_directions(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Each has a chain of its own."""
    both.add_toxic("p", "up", "latency", {"latency": 50}, "upstream")
    both.add_toxic("p", "down", "latency", {"latency": 70}, "downstream")
    assert 0.12 <= min(wire.round_trip(connect(proxy)) for _ in range(3)) < 0.18


def test_latency_counts_from_the_reading(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Chunks wait side by side, not one after the other."""
    toxic("latency", latency=200)
    sock = connect(proxy)
    began = time.monotonic()
    for number in range(10):
        sock.sendall(b"%d" % number)
        time.sleep(0.01)  # chunks of their own
    assert wire.read(sock, 10) == b"0123456789"
    assert 0.2 <= time.monotonic() - began < 0.8


def test_jitter(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Between latency - jitter and latency + jitter; below zero there is no delay."""
    toxic("latency", latency=10, jitter=30)
    sock = connect(proxy)
    times = [wire.round_trip(sock) for _ in range(40)]
    assert min(times) < 0.01
    assert max(times) > 0.02
    assert sorted(times)[30] < 0.06


def test_negative_latency(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """None at all."""
    toxic("latency", latency=-50)
    assert min(wire.round_trip(connect(proxy)) for _ in range(5)) < 0.05


@STREAMS
@pytest.mark.parametrize(("rate", "size"), [(100, 30_000), (1000, 300_000)])
def test_bandwidth(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str, rate: int, size: int) -> None:
    """Kilobytes of 1000 bytes a second, for each connection; the first bytes come long before the last."""
    toxic("bandwidth", stream, rate=rate)
    sock, other = connect(proxy), connect(proxy)
    began = time.monotonic()
    for each in (sock, other):
        each.sendall(b"x" * size)
    assert wire.read(sock, 1) == b"x"
    first = time.monotonic() - began
    assert len(wire.read(sock, size - 1)) == size - 1
    assert len(wire.read(other, size)) == size
    took = time.monotonic() - began
    assert 0.25 <= took < 0.8
    assert first < took * 0.7


@STREAMS
@pytest.mark.parametrize("attributes", [{}, {"rate": 0}], ids=["none given", "0"])
def test_no_bandwidth(proxy: Any, both: Any, connect: Any, wire: Any, stream: str, attributes: dict[str, int]) -> None:
    """Nothing passes, however long it is; a rate, or no toxic, lets what has waited pass, whole."""
    both.add_toxic("p", "b", "bandwidth", attributes, stream)
    updated, removed = connect(proxy), connect(proxy)
    for sock in (updated, removed):
        sock.sendall(b"x" * 20_000)
        assert wire.end(sock, within=0.4) == "open"
    both.update_toxic("p", "b", {"rate": 10_000})
    assert len(wire.read(updated, 20_000)) == 20_000
    both.update_toxic("p", "b", {"rate": 0})
    updated.sendall(b"y" * 20_000)
    assert wire.end(updated, within=0.4) == "open"
    both.remove_toxic("p", "b")
    assert wire.read(updated, 20_000) == b"y" * 20_000
    assert wire.read(removed, 20_000) == b"x" * 20_000


@STREAMS
def test_slow_close(both: Any, connect: Any, wire: Any, upstream: Any, stream: str) -> None:
    """Data passes at once; the end of the stream that comes this way is late, the other's is not."""
    target = upstream()
    address = both.create_proxy("p", target.address)
    both.add_toxic("p", "late", "slow_close", {"delay": 250}, stream)
    sock = connect(address)
    assert wire.round_trip(sock) < 0.2
    far = target.connection()
    ending, seeing = (sock, far) if stream == "upstream" else (far, sock)
    began = time.monotonic()
    ending.shutdown(1)
    if stream == "upstream":
        wait_for(lambda: far.fileno() < 0, what="the echo server to see the end", limit=5, every=0.002)
    else:
        assert wire.end(seeing) == "fin"
    assert 0.24 <= time.monotonic() - began < 0.6


@STREAMS
def test_timeout(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """Nothing comes; the connection ends when no chunk has come for the time."""
    toxic("timeout", stream, timeout=150)
    sock = connect(proxy)
    began = time.monotonic()
    for _ in range(4):
        sock.sendall(b"ping")
        time.sleep(0.05)  # each chunk starts the time anew
    assert wire.end(sock) == "fin"
    assert 0.29 <= time.monotonic() - began < 0.8


def test_timeout_without_traffic(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """It needs no chunk to begin."""
    toxic("timeout", timeout=80)
    sock = connect(proxy)
    began = time.monotonic()
    assert wire.end(sock) == "fin"
    assert 0.07 <= time.monotonic() - began < 0.4


@STREAMS
def test_timeout_without_end(both: Any, proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """0 never closes."""
    toxic("timeout", stream, timeout=0)
    sock = connect(proxy)
    sock.sendall(b"ping")
    assert wire.end(sock, within=0.25) == "open"


@STREAMS
def test_reset_peer(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """A real RST at the first chunk, for connections opened after it was added."""
    toxic("reset_peer", stream)
    sock = connect(proxy)
    assert wire.end(sock, within=0.1) == "open"
    sock.sendall(b"ping")
    assert wire.end(sock) == "reset"


@STREAMS
def test_reset_peer_waits(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """For the first chunk, then for its time."""
    toxic("reset_peer", stream, timeout=150)
    sock = connect(proxy)
    assert wire.end(sock, within=0.2) == "open"
    began = time.monotonic()
    sock.sendall(b"ping")
    assert wire.end(sock) == "reset"
    assert 0.15 <= time.monotonic() - began < 0.6


def test_reset_peer_at_the_end(both: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """The end of the stream will do for the first chunk."""
    address = both.create_proxy("p", upstream(lambda sock: None).address)
    both.add_toxic("p", "r", "reset_peer", {"timeout": 100})
    began = time.monotonic()
    assert wire.end(connect(address)) == "reset"
    assert 0.09 <= time.monotonic() - began < 0.6


@pytest.mark.parametrize("delay", [0, 10_000])
def test_slicer(both: Any, connect: Any, wire: Any, upstream: Any, delay: int) -> None:
    """Data arrives in pieces about the size (µs apart from each other), whole and in order."""
    pieces: list[tuple[float, bytes]] = []

    def note(sock: Any) -> None:
        while data := sock.recv(65536):
            pieces.append((time.monotonic(), data))

    address = both.create_proxy("p", upstream(note).address)
    sizes = {"average_size": 100, "size_variation": 20, "delay": delay}
    both.add_toxic("p", "s", "slicer", sizes, "upstream")
    data = bytes(range(250)) * 4
    connect(address).sendall(data)
    wait_for(lambda: sum(len(piece) for _, piece in pieces) >= 1000, what="all pieces", limit=5)
    assert b"".join(piece for _, piece in pieces) == data
    if delay:
        assert 8 <= len(pieces) <= 20
        assert all(30 <= len(piece) <= 180 for _, piece in pieces)
        assert pieces[-1][0] - pieces[0][0] >= 0.01 * (len(pieces) - 2)


def test_slicer_downstream(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """The client gets the pieces, one delay after the other."""
    toxic("slicer", average_size=100, size_variation=20, delay=10_000)
    sock = connect(proxy)
    assert wire.round_trip(sock, b"x" * 1000) >= 0.06


@pytest.mark.parametrize("limit", [0, 3, 4, 50_000])
def test_limit_data_downstream(both: Any, connect: Any, wire: Any, upstream: Any, limit: int) -> None:
    """So many bytes come, cut exactly there, then the end."""

    def send(sock: Any) -> None:
        sock.sendall(b"x" * (limit + 5))
        sock.recv(1)

    address = both.create_proxy("p", upstream(send).address)
    both.add_toxic("p", "l", "limit_data", {"bytes": limit})
    sock = connect(address)
    assert wire.read(sock, limit + 5) == b"x" * limit
    assert wire.end(sock) in ("fin", "reset")  # what the upstream sent in vain may turn FIN into RST


@pytest.mark.parametrize("limit", [0, 3, 50_000])
def test_limit_data_upstream(both: Any, connect: Any, wire: Any, upstream: Any, limit: int) -> None:
    """The upstream gets so many bytes, then the end; so does the client."""
    received = bytearray()

    def swallow(sock: Any) -> None:
        while data := sock.recv(65536):
            received.extend(data)

    address = both.create_proxy("p", upstream(swallow).address)
    both.add_toxic("p", "l", "limit_data", {"bytes": limit}, "upstream")
    sock = connect(address)
    sock.sendall(b"x" * (limit + 5))
    assert wire.end(sock) in ("fin", "reset")
    wait_for(lambda: len(received) == limit, what="the bytes at the upstream", limit=5)


def test_limit_data_lets_pass_what_fits(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Each connection has its own allowance; below it nothing happens."""
    toxic("limit_data", bytes=10)
    for _ in range(2):
        sock = connect(proxy)
        wire.round_trip(sock, b"x" * 9)
        assert wire.end(sock, within=0.1) == "open"
        sock.settimeout(5)
        sock.sendall(b"12")
        assert wire.read(sock, 2) == b"1"


@STREAMS
def test_noop(proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """Nothing changes."""
    toxic("noop", stream)
    assert wire.round_trip(connect(proxy), b"x" * 100_000) < 0.5
