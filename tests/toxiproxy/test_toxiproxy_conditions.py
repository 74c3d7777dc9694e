"""What a toxic may have beyond the original: conditions, a lease, and a place in a proxy's body."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress
from chaoskit.toxiproxy.launch import server_command

CUT = {"name": "cut", "type": "limit_data"}


def cut_pattern(connect: Any, wire: Any, address: ProxyAddress, count: int) -> str:
    """One letter a connection: x when it is cut at its first bytes, a point when they come back."""
    found = ""
    for _ in range(count):
        with connect(address) as sock:
            sock.sendall(b"ping")
            found += "." if wire.read(sock, 4) else "x"
    return found


@pytest.mark.parametrize(
    ("conditions", "pattern"),
    [
        ({"after": 2}, "..xxxx"),
        ({"every": 3}, "..x..x"),
        ({"first": 2}, "xx...."),
        ({"after": 1, "every": 2, "first": 1}, "..x..."),
        ({"after": 0, "every": 1, "ttl": None}, "xxxxxx"),
    ],
)
def test_conditions(
    server: Any, control: Any, upstream: Any, connect: Any, wire: Any, conditions: Any, pattern: str
) -> None:
    """They choose connections by their order, and are shown."""
    address = control.create_proxy("c", upstream().address)
    status, _, shown = server.call("POST", "/proxies/c/toxics", {**CUT, **conditions})
    assert status == 200
    assert {**json.loads(shown), **{k: v for k, v in conditions.items() if v is not None}} == json.loads(shown)
    assert cut_pattern(connect, wire, address, 6) == pattern


def test_open_connections_count_first(server: Any, control: Any, upstream: Any, connect: Any, wire: Any) -> None:
    """A toxic counts the connections that are open when it comes, then the new ones; an update changes nothing."""
    address = control.create_proxy("c", upstream().address)
    old = [connect(address), connect(address)]
    for sock in old:
        wire.round_trip(sock)
    server.call("POST", "/proxies/c/toxics", {**CUT, "after": 1, "first": 2})
    control.update_toxic("c", "cut", {"bytes": 0})
    wire.round_trip(old[0])
    old[1].sendall(b"ping")
    assert wire.read(old[1], 4) == b""
    assert cut_pattern(connect, wire, address, 3) == "x.."


@pytest.mark.parametrize(
    "wrong", [{"after": -1}, {"every": 0}, {"first": "1"}, {"ttl": 0}, {"ttl": 1.5}, {"ttl": 2**70}]
)
def test_wrong_conditions(server: Any, control: Any, wrong: dict[str, Any]) -> None:
    """They are refused, and no toxic is added."""
    control.create_proxy("c", "127.0.0.1:1")
    status, _, text = server.call("POST", "/proxies/c/toxics", {**CUT, **wrong})
    assert (status, "must be an integer of at least" in text) == (400, True)
    assert json.loads(server.call("GET", "/proxies/c/toxics")[2]) == []


def test_a_lease_ends(server: Any, control: Any, upstream: Any, connect: Any, wire: Any) -> None:
    """The toxic removes itself, not early, and lets go of what it holds."""
    address = control.create_proxy("c", upstream().address)
    sock = connect(address)
    wire.round_trip(sock)
    began = time.monotonic()
    body = {"type": "latency", "attributes": {"latency": 60_000}, "ttl": 200}
    assert json.loads(server.call("POST", "/proxies/c/toxics", body)[2])["ttl"] == 200
    assert wire.round_trip(sock) < 5
    assert time.monotonic() - began >= 0.2
    assert json.loads(server.call("GET", "/proxies/c/toxics")[2]) == []


def test_a_lease_is_renewed(server: Any, control: Any) -> None:
    """A PATCH with a ttl counts anew; one without leaves the lease; a removed toxic's lease harms nobody."""
    control.create_proxy("c", "127.0.0.1:1")
    server.call("POST", "/proxies/c/toxics", {**CUT, "ttl": 150})
    server.call("PATCH", "/proxies/c/toxics/cut", {"ttl": 60_000})
    server.call("POST", "/proxies/c/toxics", {"name": "b", "type": "noop", "ttl": 200})
    server.call("DELETE", "/proxies/c/toxics/b")
    server.call("POST", "/proxies/c/toxics", {"name": "b", "type": "noop"})
    server.call("POST", "/proxies/c/toxics", {"name": "last", "type": "noop", "ttl": 250})

    def names() -> list[str]:
        return [toxic["name"] for toxic in json.loads(server.call("GET", "/proxies/c/toxics")[2])]

    wait_for(lambda: "last" not in names(), what="the end of the last lease", limit=5)
    assert names() == ["cut", "b"]


ENTRY = {"name": "c", "listen": "127.0.0.1:0", "toxics": [{"type": "latency"}], "chaoskit_toxics": [CUT]}


@pytest.mark.parametrize("how", ["create", "populate", "config"])
def test_declared_toxics(start: Callable[..., Any], tmp_path: Path, how: str) -> None:
    """``chaoskit_toxics`` are applied wherever a proxy is declared; ``toxics`` are not, as in the original."""
    entry = {**ENTRY, "upstream": "127.0.0.1:1"}
    config = tmp_path / "proxies.json"
    config.write_text(json.dumps([entry]))
    with start([*server_command(), *(["-config", str(config)] if how == "config" else [])]) as found:
        if how == "create":
            assert found.call("POST", "/proxies", entry)[0] == 201
        elif how == "populate":
            assert found.call("POST", "/populate", [entry])[0] == 201
        shown = json.loads(found.call("GET", "/proxies/c/toxics")[2])
    assert [toxic["name"] for toxic in shown] == ["cut"]


@pytest.mark.parametrize("toxics", [[{"type": "no"}], [CUT, CUT], {}, [1], [{**CUT, "ttl": -1}]])
def test_wrong_declared_toxics(server: Any, control: ToxiproxyControl, toxics: Any) -> None:
    """Nothing is created then."""
    entry = {**ENTRY, "upstream": "127.0.0.1:1", "chaoskit_toxics": toxics}
    assert server.call("POST", "/proxies", entry)[0] in (400, 409)
    assert server.call("POST", "/populate", [{**ENTRY, "name": "d", "upstream": "u:1"}, entry])[0] in (
        400,
        409,
    )
    assert control.counters() == {}
