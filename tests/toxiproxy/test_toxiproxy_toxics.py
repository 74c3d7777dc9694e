"""Each toxic where it is better than the original's, or counted (the rest is in the conformance tests)."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress
from chaoskit.toxiproxy.launch import server_command


@pytest.fixture
def proxy(control: ToxiproxyControl, upstream: Any) -> ProxyAddress:
    """A proxy to an echo server."""
    return control.create_proxy("p", upstream().address)


@pytest.fixture
def toxic(control: ToxiproxyControl) -> Callable[..., None]:
    """``toxic(type, stream=..., toxicity=..., **attributes)`` adds one, named after its type."""

    def add(kind: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> None:
        control.add_toxic("p", kind, kind, attributes, stream, toxicity)

    return add


def test_latency_is_exact(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Timers are much better than milliseconds (the best of many: the machine is shared)."""
    sock = connect(proxy)
    plain = min(wire.round_trip(sock) for _ in range(50))
    toxic("latency", latency=7)
    delays = [wire.round_trip(sock) - plain for _ in range(50)]
    assert min(delays) >= 0.007 - plain
    assert min(delays) < 0.0078


def test_two_latencies_add_up(control: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Never early, in a chain either."""
    for name in ("one", "two"):
        control.add_toxic("p", name, "latency", {"latency": 60})
    assert min(wire.round_trip(connect(proxy)) for _ in range(5)) >= 0.12


def test_latency_holds_much(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Many megabytes go through whole and in order, with back-pressure."""
    toxic("latency", latency=30)
    data = bytes(range(256)) * 4096 * 8
    sock = connect(proxy)
    sock.settimeout(20)
    sender = Thread(target=sock.sendall, args=(data,))
    sender.start()
    assert wire.read(sock, len(data)) == data
    sender.join()


def test_bandwidth_below_zero(proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Does not limit. (It ends the original; 0 lets nothing pass on both: see the conformance suite.)"""
    toxic("bandwidth", rate=-1)
    assert wire.round_trip(connect(proxy), b"x" * 300_000) < 1


def test_slow_close(connect: Any, wire: Any, upstream: Any, control: Any) -> None:
    """Data passes at once, the end comes late."""
    address = control.create_proxy("q", upstream(lambda sock: sock.sendall(sock.recv(10))).address)
    control.add_toxic("q", "late", "slow_close", {"delay": 150})
    sock = connect(address)
    assert wire.round_trip(sock) < 0.1
    began = time.monotonic()
    assert wire.end(sock) == "fin"
    assert time.monotonic() - began >= 0.14
    assert control.counters()["q"].toxics["late"].connections == 1


def test_timeout_swallows_and_closes(control: Any, proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Nothing comes; the connection ends when it has been quiet for the time."""
    toxic("timeout", timeout=100)
    sock = connect(proxy)
    began = time.monotonic()
    for _ in range(4):  # each chunk starts the time anew
        sock.sendall(b"ping")
        time.sleep(0.05)
    assert wire.read(sock, 1) == b""
    assert time.monotonic() - began >= 0.25
    count = wait_for(lambda: control.counters()["p"].toxics["timeout"], what="counters", limit=2)
    assert (count.connections, count.bytes, count.cut) == (1, 16, 1)


def test_timeout_without_end(control: Any, proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """0 never closes; removing the toxic closes all, also those that toxicity spared."""
    spared = connect(proxy)
    wire.round_trip(spared)
    toxic("timeout", toxicity=0)
    assert wire.round_trip(spared) < 1
    control.update_toxic("p", "timeout", {}, toxicity=1.0)
    silent = connect(proxy)
    silent.sendall(b"ping")
    assert wire.end(silent, within=0.2) == "open"
    assert control.remove_toxic("p", "timeout")
    assert wire.end(silent) == "fin"
    assert wire.end(spared) == "fin"


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_peer(control: Any, proxy: Any, toxic: Any, connect: Any, wire: Any, stream: str) -> None:
    """A real RST, also on a connection that was open before."""
    older = connect(proxy)
    wire.round_trip(older)
    toxic("reset_peer", stream)
    newer = connect(proxy)
    for sock in (older, newer):
        sock.sendall(b"ping")
        assert wire.end(sock) == "reset"
    rows = wait_for(lambda: [r for r in control.events(0).rows if r.proxy == "p"][1:], what="two rows", limit=2)
    assert (rows[-1].end, rows[-1].reset) == ("toxic", True)
    assert control.counters()["p"].toxics["reset_peer"].cut == 2


@pytest.mark.parametrize("attributes", [{}, {"average_size": 10, "size_variation": 11}, {"average_size": -1}])
def test_slicer_without_end_is_refused(control: Any, proxy: Any, attributes: dict[str, int]) -> None:
    """Sizes that would cut without end (the original up to 2.12 dies of them)."""
    with pytest.raises(BrokenError, match="average_size"):
        control.add_toxic("p", "s", "slicer", attributes)


@pytest.mark.parametrize("limit", [0, 3, 4, 100_000])
def test_limit_data(control: Any, proxy: Any, toxic: Any, connect: Any, wire: Any, limit: int) -> None:
    """So many bytes, then the end; counted from when the toxic came."""
    sock = connect(proxy)
    wire.round_trip(sock, b"before")
    toxic("limit_data", bytes=limit)
    sock.sendall(b"x" * (limit + 5))
    assert wire.read(sock, limit + 5) == b"x" * limit
    assert wire.end(sock) in ("fin", "reset")  # what the upstream sent in vain may turn FIN into RST
    assert control.counters()["p"].toxics["limit_data"].cut == 1


def test_noop(control: Any, proxy: Any, toxic: Any, connect: Any, wire: Any) -> None:
    """Passes on, and counts."""
    toxic("noop")
    wire.round_trip(connect(proxy), b"x" * 100_000)
    assert control.counters()["p"].toxics["noop"].bytes == 100_000


def test_seed(start: Any, upstream: Any, connect: Any, wire: Any) -> None:
    """The same seed spares the same connections; another seed does not."""
    address = upstream().address
    slow = []
    for seed in (7, 7, 8):
        with start(server_command(seed=seed)) as seeded:
            control = ToxiproxyControl(seeded.url)
            proxy = control.create_proxy("p", address)
            control.add_toxic("p", "t", "limit_data", {}, toxicity=0.5)
            found = []
            for _ in range(30):
                sock = connect(proxy)
                sock.sendall(b"ping")
                found.append(wire.read(sock, 4))
            slow.append(found)
            control.close()
    assert slow[0] == slow[1] != slow[2]
