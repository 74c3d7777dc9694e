"""The toxics on new connections: refuse and blackhole."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress


def outcome(connect: Any, wire: Any, address: ProxyAddress) -> str:
    """How a new connection fares: ``reset``, ``open`` (no answer for 0.2 s) or ``fine``."""
    try:
        sock = connect(address)
        sock.sendall(b"ping")
        sock.settimeout(0.2)
        return "fine" if wire.read(sock, 4) == b"ping" else "fin"
    except TimeoutError:
        return "open"
    except (ConnectionResetError, BrokenPipeError, OSError):
        return "reset"


def test_refuse(control: ToxiproxyControl, upstream: Any, connect: Any, wire: Any) -> None:
    """New connections are reset and never reach the upstream; old ones live; removing it heals."""
    target = upstream()
    address = control.create_proxy("o", target.address)
    old = connect(address)
    wire.round_trip(old)
    control.add_toxic("o", "r", "refuse", {})
    assert outcome(connect, wire, address) == "reset"
    wire.round_trip(old)
    counters = control.counters()["o"]
    assert (counters.toxics["r"].connections, counters.toxics["r"].cut, len(target.accepted)) == (1, 1, 1)
    row = [row for row in control.events(0).rows if row.proxy == "o"][-1]
    assert (row.end, row.reset) == ("toxic", True)
    control.remove_toxic("o", "r")
    assert outcome(connect, wire, address) == "fine"


def test_blackhole(control: ToxiproxyControl, upstream: Any, connect: Any, wire: Any) -> None:
    """New connections hang and never reach the upstream; when it is removed they go on with what was sent."""
    target = upstream()
    address = control.create_proxy("o", target.address)
    old = connect(address)
    wire.round_trip(old)
    control.add_toxic("o", "b", "blackhole", {})
    held = connect(address)
    held.sendall(b"ping")
    assert wire.end(held, within=0.2) == "open"
    wire.round_trip(old)
    gone = connect(address)
    wait_for(lambda: control.counters()["o"].active == 3, what="the third connection", limit=5)
    gone.close()
    wait_for(lambda: control.counters()["o"].active == 2, what="the end of the one given up", limit=5)
    assert len(target.accepted) == 1
    held.settimeout(10)
    control.remove_toxic("o", "b")
    assert wire.read(held, 4) == b"ping"


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_held_connections_end_with_the_proxy(
    control: ToxiproxyControl, upstream: Any, connect: Any, wire: Any, how: str
) -> None:
    """Disabling or deleting the proxy closes them."""
    address = control.create_proxy("o", upstream().address)
    control.add_toxic("o", "b", "blackhole", {})
    held = connect(address)
    wait_for(lambda: control.counters()["o"].active == 1, what="the connection", limit=5)
    if how == "disable":
        control.set_enabled("o", False)
    else:
        control.delete_proxy("o")
    assert wire.end(held) == "fin"


def test_conditions_and_toxicity(server: Any, control: Any, upstream: Any, connect: Any, wire: Any) -> None:
    """Both choose among the new connections; a blackhole behind a refuse gets the rest."""
    address = control.create_proxy("o", upstream().address)
    server.call("POST", "/proxies/o/toxics", {"name": "r", "type": "refuse", "every": 2})
    server.call("POST", "/proxies/o/toxics", {"name": "b", "type": "blackhole", "after": 2, "toxicity": 0})
    found = [outcome(connect, wire, address) for _ in range(4)]
    assert found == ["fine", "reset", "fine", "reset"]
    control.update_toxic("o", "b", {}, toxicity=1)
    assert outcome(connect, wire, address) == "open"
