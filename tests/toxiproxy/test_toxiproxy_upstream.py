"""A proxy is led elsewhere at the same address, with and without a tap in front of a second server."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.launch import server_command
from chaoskit.toxiproxy.tapped_original import FrontedToxiproxy


def shout(sock: socket.socket) -> None:
    """Tells itself apart from an echo."""
    while data := sock.recv(100):
        sock.sendall(data.upper())


@pytest.fixture(params=["one server", "a tap before another"])
def either(request: Any, control: ToxiproxyControl, start: Any) -> Any:
    """Controls of both kinds."""
    if request.param == "one server":
        yield control
        return
    with start(server_command()) as real:
        front = FrontedToxiproxy(control._consumer.url, ToxiproxyControl(real.url), "front-")
        yield front
        front.real.close()


def test_led_elsewhere(either: ToxiproxyControl, connect: Any, wire: Any, upstream: Any) -> None:
    """Open connections are closed, new ones at the same address reach the other server; its toxics stay."""
    address = either.create_proxy("moves", upstream().address)
    either.add_toxic("moves", "slow", "latency", {"latency": 1})
    before = connect(address)
    wire.round_trip(before, b"one")
    other = upstream(shout)
    either.set_upstream("moves", other.address)
    assert wire.end(before) in ("fin", "reset")
    after = connect(address)
    after.sendall(b"two")
    assert wire.read(after, 3) == b"TWO"
    assert either.remove_toxic("moves", "slow")


def test_no_such_proxy(either: ToxiproxyControl) -> None:
    """Told by name."""
    with pytest.raises(BrokenError, match=r"refused to lead proxy '(front-)?none' to u:1"):
        either.set_upstream("none", "u:1")
