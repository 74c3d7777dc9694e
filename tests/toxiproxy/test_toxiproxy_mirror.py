"""The tap's option ``mirror``, and the counters of how upstreams end connections."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl


def reset_after_one(sock: socket.socket) -> None:
    """Echo one read, then end with RST."""
    sock.sendall(sock.recv(100))
    sock.recv(100)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_after_one(sock: socket.socket) -> None:
    """Echo one read, then end with FIN."""
    sock.sendall(sock.recv(100))
    sock.recv(100)


@pytest.mark.parametrize(
    ("serve", "mirror", "seen", "resets"),
    [
        (reset_after_one, True, "reset", 1),
        (reset_after_one, False, "fin", 1),
        (close_after_one, True, "fin", 0),
        (close_after_one, False, "fin", 0),
    ],
)
@pytest.mark.parametrize("toxic", [False, True])
def test_ends_by_the_upstream(
    control: ToxiproxyControl,
    upstream: Any,
    connect: Any,
    wire: Any,
    serve: Any,
    mirror: bool,
    seen: str,
    resets: int,
    toxic: bool,
) -> None:
    """A mirror passes RST on, also behind a toxic; the counters tell RST from FIN either way."""
    address = control.create_proxy("m", upstream(serve).address)
    control.set_tap("m", [], [], mirror=mirror)
    if toxic:
        control.add_toxic("m", "late", "latency", {"latency": 20})
    sock = connect(address)
    wire.round_trip(sock)
    sock.sendall(b"end")
    assert wire.end(sock) == seen
    counters = control.counters()["m"]
    assert (counters.ended_upstream, counters.reset_upstream) == (1, resets)
    row = wait_for(lambda: [r for r in control.events(0).rows if r.proxy == "m"][-1:], what="a row", limit=5)[0]
    assert (row.end, row.reset) == ("upstream", seen == "reset")


def test_ends_by_the_client(control: ToxiproxyControl, upstream: Any, connect: Any, wire: Any) -> None:
    """They are no ends by the upstream; a client's RST is mirrored as well."""
    target = upstream()
    address = control.create_proxy("m", target.address)
    control.set_tap("m", [], [], mirror=True)
    sock = connect(address)
    wire.round_trip(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    wait_for(lambda: control.counters()["m"].active == 0, what="the end of the connection", limit=5)
    counters = control.counters()["m"]
    assert (counters.ended_upstream, counters.reset_upstream) == (0, 0)
    row = [r for r in control.events(0).rows if r.proxy == "m"][-1]
    assert (row.end, row.reset) == ("client", True)


@pytest.mark.parametrize(("mirror", "seen"), [(True, "reset"), (False, "fin")])
def test_refused_by_the_upstream(control: ToxiproxyControl, connect: Any, wire: Any, mirror: bool, seen: str) -> None:
    """A mirror resets the client when the upstream refuses; the original closes."""
    address = control.create_proxy("m", "127.0.0.1:1")
    control.set_tap("m", [], [], mirror=mirror)
    try:
        assert wire.end(connect(address)) == seen
    except ConnectionResetError:
        assert mirror  # so quick that already connecting or setting an option fails
    assert control.counters()["m"].refused_upstream == 1


def test_mirror_must_be_a_flag(server: Any, control: ToxiproxyControl) -> None:
    """Anything else is refused."""
    control.create_proxy("m", "127.0.0.1:1")
    assert server.call("PUT", "/chaoskit/taps/m", {"mirror": 1})[0] == 400
