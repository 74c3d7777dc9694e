"""Toxics that come, change and go while connections are open, chains of them, and toxicity.

The same for the embedded server and for the original.
"""

from __future__ import annotations

import socket
import time
from itertools import pairwise
from threading import Thread
from typing import Any, NamedTuple

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress

NEVER = 60_000  # ms


@pytest.fixture
def proxy(both: ToxiproxyControl, upstream: Any) -> ProxyAddress:
    """A proxy to an echo server."""
    return both.create_proxy("p", upstream().address)


def echoed(wire: Any, sock: socket.socket, size: int = 4) -> float:
    """Seconds for ``size`` bytes there and back."""
    return float(wire.round_trip(sock, b"x" * size))


class Change(NamedTuple):
    """A toxic with ``first`` makes ``size`` bytes take ``slow`` seconds or more; with ``then`` less than that."""

    kind: str
    first: dict[str, int]
    then: dict[str, int]
    size: int
    slow: float


CHANGES = [
    Change("latency", {"latency": 150}, {"latency": 20}, 4, 0.15),
    Change("bandwidth", {"rate": 50}, {"rate": 5000}, 10_000, 0.19),
    Change("slicer", {"average_size": 100, "delay": 20_000}, {"delay": 100}, 1000, 0.15),
    Change("slicer", {"average_size": 100, "delay": 20_000}, {"average_size": 2000}, 1000, 0.15),
]


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: f"{c.kind}-{'-'.join(c.then)}")
def test_add_update_remove(both: Any, proxy: Any, connect: Any, wire: Any, change: Change, stream: str) -> None:
    """Each acts on a live connection at once: the adding, the update of an attribute, the removing."""
    sock = connect(proxy)
    assert echoed(wire, sock, change.size) < change.slow
    both.add_toxic("p", "t", change.kind, change.first, stream)
    assert echoed(wire, sock, change.size) >= change.slow
    both.update_toxic("p", "t", change.then)
    assert echoed(wire, sock, change.size) < change.slow
    both.update_toxic("p", "t", change.first)
    assert echoed(wire, sock, change.size) >= change.slow
    assert both.remove_toxic("p", "t")
    assert echoed(wire, sock, change.size) < change.slow


@pytest.mark.parametrize(
    ("kind", "first", "then"),
    [
        ("timeout", {"timeout": 0}, {"timeout": 50}),
        ("timeout", {"timeout": NEVER}, {"timeout": 50}),
        ("limit_data", {"bytes": 1000}, {"bytes": 2}),
    ],
)
def test_an_update_can_close(
    both: Any, proxy: Any, connect: Any, wire: Any, kind: str, first: dict[str, int], then: dict[str, int]
) -> None:
    """A new time or limit holds for open connections."""
    both.add_toxic("p", "t", kind, first)
    sock = connect(proxy)
    sock.sendall(b"ping")
    wait_for(lambda: kind == "timeout" or wire.read(sock, 4) == b"ping", what="the first bytes", limit=5)
    both.update_toxic("p", "t", then)
    sock.sendall(b"pong")
    assert wire.end(sock) in ("fin", "reset")


def test_reset_peer_updated_before_its_chunk(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """The time that counts is the one at the first chunk."""
    both.add_toxic("p", "t", "reset_peer", {"timeout": NEVER})
    sock = connect(proxy)
    assert wire.end(sock, within=0.1) == "open"
    both.update_toxic("p", "t", {"timeout": 50})
    sock.sendall(b"ping")
    assert wire.end(sock) == "reset"


@pytest.mark.parametrize("how", ["update", "remove", "reset"])
def test_slow_close_changed_while_it_waits(both: Any, proxy: Any, connect: Any, wire: Any, how: str) -> None:
    """The end that was held comes."""
    both.add_toxic("p", "t", "slow_close", {"delay": NEVER}, "upstream")
    sock = connect(proxy)
    echoed(wire, sock)
    sock.shutdown(socket.SHUT_WR)
    assert wire.end(sock, within=0.1) == "open"
    {"update": lambda: both.update_toxic("p", "t", {"delay": 10}), "reset": both.reset}.get(
        how, lambda: both.remove_toxic("p", "t")
    )()
    assert wire.end(sock) == "fin"


@pytest.mark.parametrize("how", ["update", "remove", "reset"])
def test_what_latency_holds_goes_on_at_once(both: Any, proxy: Any, connect: Any, wire: Any, how: str) -> None:
    """Whole and in order."""
    both.add_toxic("p", "t", "latency", {"latency": NEVER})
    sock = connect(proxy)
    for number in range(5):
        sock.sendall(b"%d" % number)
        time.sleep(0.02)  # chunks of their own
    began = time.monotonic()
    {"update": lambda: both.update_toxic("p", "t", {"latency": 10}), "reset": both.reset}.get(
        how, lambda: both.remove_toxic("p", "t")
    )()
    assert wire.read(sock, 5) == b"01234"
    assert time.monotonic() - began < 1


def test_limit_data_keeps_its_count(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Counted from when it was added, and on over an update."""
    sock = connect(proxy)
    echoed(wire, sock, 100)
    both.add_toxic("p", "t", "limit_data", {"bytes": 10})
    echoed(wire, sock, 6)
    both.update_toxic("p", "t", {"bytes": 8})
    sock.sendall(b"abcdef")
    assert wire.read(sock, 6) == b"ab"


def test_removing_timeout_closes_all(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """What was dropped is missing: also connections that toxicity spared are closed."""
    spared = connect(proxy)
    echoed(wire, spared)
    both.add_toxic("p", "t", "timeout", {}, toxicity=0)
    echoed(wire, spared)
    assert both.remove_toxic("p", "t")
    assert wire.end(spared) == "fin"


# ---- chains


def test_a_chain_adds_up(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Three latencies one after the other; without the middle one, two."""
    sock = connect(proxy)
    for name in ("one", "two", "three"):
        both.add_toxic("p", name, "latency", {"latency": 50})
    # On a busy machine the original's chain is early by what its timers are late (ours never is: its own test).
    assert 0.11 <= min(echoed(wire, sock) for _ in range(3)) < 0.25
    both.remove_toxic("p", "two")
    assert 0.06 <= min(echoed(wire, sock) for _ in range(3)) < 0.149


def test_the_order_of_a_chain(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Limit behind latency: the allowed bytes come late, then the end; of two limits the smaller holds."""
    both.add_toxic("p", "late", "latency", {"latency": 100})
    both.add_toxic("p", "wide", "limit_data", {"bytes": 3})
    both.add_toxic("p", "narrow", "limit_data", {"bytes": 2})
    sock = connect(proxy)
    began = time.monotonic()
    sock.sendall(b"ping")
    assert wire.read(sock, 10) == b"pi"
    assert time.monotonic() - began >= 0.1


def test_a_chain_of_different_toxics(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Latency, slicer, bandwidth and slow_close together, both directions: whole, in order, late."""
    for stream in ("upstream", "downstream"):
        both.add_toxic("p", f"a{stream}", "latency", {"latency": 20, "jitter": 10}, stream)
        both.add_toxic("p", f"b{stream}", "slicer", {"average_size": 3000, "size_variation": 500, "delay": 50}, stream)
        both.add_toxic("p", f"c{stream}", "bandwidth", {"rate": 1000}, stream)
        both.add_toxic("p", f"d{stream}", "slow_close", {"delay": 10}, stream)
    sock = connect(proxy)
    data = bytes(range(250)) * 400
    sender = Thread(target=sock.sendall, args=(data,))
    began = time.monotonic()
    sender.start()
    assert wire.read(sock, len(data)) == data
    sender.join(10)
    assert 0.1 <= time.monotonic() - began < 3


# ---- toxicity


def slow(wire: Any, socks: list[socket.socket]) -> list[bool]:
    """Which connections have the latency of 25 ms (the best of three: the machine may be busy)."""
    return [min(echoed(wire, sock) for _ in range(3)) >= 0.025 for sock in socks]


def test_toxicity(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Rolled for each connection, then stable; 0 or less spares all, 1 or more none, when they are changed too."""
    both.add_toxic("p", "t", "latency", {"latency": 25}, toxicity=0.5)
    socks = [connect(proxy) for _ in range(16)]
    first = slow(wire, socks)
    assert 1 <= sum(first) <= 15
    assert slow(wire, socks) == first
    for toxicity, expected in ((0, False), (1, True), (-1, False), (1.5, True)):
        both.update_toxic("p", "t", {}, toxicity=toxicity)
        assert slow(wire, socks[:4]) == [expected] * 4


def test_toxicity_is_rolled_again(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """By an update of the toxic, and when its successor comes or goes; not by one in the other direction."""
    both.add_toxic("p", "t", "latency", {"latency": 25}, toxicity=0.5)
    socks = [connect(proxy) for _ in range(16)]
    seen = [slow(wire, socks)]
    both.add_toxic("p", "other", "noop", {}, "upstream")
    assert slow(wire, socks) == seen[0]
    both.update_toxic("p", "t", {})
    seen.append(slow(wire, socks))
    both.add_toxic("p", "successor", "noop", {})
    seen.append(slow(wire, socks))
    both.remove_toxic("p", "successor")
    seen.append(slow(wire, socks))
    assert all(before != after for before, after in pairwise(seen))
