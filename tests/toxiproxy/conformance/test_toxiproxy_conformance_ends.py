"""What ends connections, and how: the API, an upstream that is down, and the ends of either side.

The same for the embedded server and for the original.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress


@pytest.fixture
def proxy(both: ToxiproxyControl, upstream: Any) -> ProxyAddress:
    """A proxy to an echo server."""
    return both.create_proxy("p", upstream().address)


@pytest.mark.parametrize(
    "how",
    [
        lambda both: both.set_enabled("p", False),
        lambda both: both.delete_proxy("p"),
        lambda both: both._post("/proxies/p", {"upstream": "127.0.0.1:1"}),
        lambda both: both._post("/proxies/p", {"listen": "127.0.0.1:0"}),
        lambda both: both._post("/populate", [{"name": "p", "upstream": "u:1", "listen": "127.0.0.1:0"}]),
    ],
    ids=["disable", "delete", "upstream", "listen", "populate"],
)
def test_what_closes_open_connections(
    both: Any, connect: Any, wire: Any, upstream: Any, how: Callable[[Any], None]
) -> None:
    """FIN for the client and for the upstream."""
    target = upstream()
    sock = connect(both.create_proxy("p", target.address))
    wire.round_trip(sock)
    how(both)
    assert wire.end(sock) == "fin"
    wait_for(lambda: target.connection().fileno() < 0, what="the end at the upstream", limit=5)


@pytest.mark.parametrize(
    "how", [lambda both: both.reset(), lambda both: both._post("/proxies/p", {"enabled": True})], ids=["reset", "same"]
)
def test_what_keeps_open_connections(
    both: Any, proxy: Any, connect: Any, wire: Any, how: Callable[[Any], None]
) -> None:
    """Resetting, and enabling what is enabled."""
    sock = connect(proxy)
    both.add_toxic("p", "t", "latency", {"latency": 50})
    wire.round_trip(sock)
    how(both)
    wire.round_trip(sock)


def test_disabled_refuses_and_enabled_serves(both: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """On the same port, with the toxics it had."""
    both.add_toxic("p", "t", "latency", {"latency": 50})
    both.set_enabled("p", False)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    both.set_enabled("p", True)
    assert wire.round_trip(connect(proxy)) >= 0.05


def test_populate_leaves_what_is_the_same(both: Any, api: Any, proxy: Any, connect: Any, wire: Any) -> None:
    """Its connections too."""
    sock = connect(proxy)
    wire.round_trip(sock)
    shown = json.loads(api.call("GET", "/proxies/p")[2])
    entry = {name: shown[name] for name in ("name", "listen", "upstream")}
    assert api.call("POST", "/populate", [entry])[0] == 201
    wire.round_trip(sock)


@pytest.mark.parametrize("target", ["127.0.0.1:1", "no port"])
def test_upstream_down(both: Any, connect: Any, wire: Any, target: str) -> None:
    """The client connects, then sees the end of the stream."""
    assert wire.end(connect(both.create_proxy("p", target))) == "fin"


def test_no_half_close_by_the_client(both: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """An upstream that answers only after the end of the request has nobody to answer to."""

    def answer_late(sock: socket.socket) -> None:
        while sock.recv(100):
            pass
        time.sleep(0.05)  # the proxy has closed by then
        sock.sendall(b"answer")

    sock = connect(both.create_proxy("p", upstream(answer_late).address))
    sock.sendall(b"ask")
    sock.shutdown(socket.SHUT_WR)
    assert wire.read(sock, 6) == b""


def test_no_half_close_by_the_upstream(both: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """All it sent comes, then FIN, and the upstream sees the end as well."""

    def end_early(sock: socket.socket) -> None:
        sock.sendall(b"x" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""

    target = upstream(end_early)
    sock = connect(both.create_proxy("p", target.address))
    assert len(wire.read(sock, 200_000)) == 100_000
    wait_for(lambda: target.connection().fileno() < 0, what="the end at the upstream", limit=5)


def test_a_reset_of_either_side_ends_the_other(both: Any, connect: Any, wire: Any, upstream: Any) -> None:
    """With FIN: the original does not pass resets on."""

    def reset(sock: socket.socket) -> None:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    sock = connect(both.create_proxy("p", upstream(reset).address))
    sock.sendall(b"x")
    assert wire.end(sock) == "fin"
    target = upstream()
    sock = connect(both.create_proxy("q", target.address))
    wire.round_trip(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    wait_for(lambda: target.connection().fileno() < 0, what="the end at the upstream", limit=5)


HOLDING = [
    ("latency", {"latency": 60_000}, 0),
    ("slicer", {"average_size": 1, "delay": 60_000_000}, 1),
    ("bandwidth", {"rate": 1}, 200),
    ("reset_peer", {"timeout": 60_000}, 0),
]


@pytest.mark.parametrize(
    ("kind", "attributes", "most"), HOLDING, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("how", ["disable", "delete"])
def test_what_a_toxic_holds_is_lost(
    both: Any, proxy: Any, connect: Any, wire: Any, kind: str, attributes: dict[str, int], most: int, how: str
) -> None:
    """When the proxy closes its connections: it does not slip through as a parting gift."""
    both.add_toxic("p", "t", kind, attributes)
    sock = connect(proxy)
    sock.sendall(b"x" * 400)
    time.sleep(0.2)  # the original cannot be asked whether the toxic has it
    if how == "disable":
        both.set_enabled("p", False)
    else:
        both.delete_proxy("p")
    try:
        assert len(wire.read(sock, 400)) <= most
    except ConnectionResetError:
        assert kind == "reset_peer"
