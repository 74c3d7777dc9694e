"""All addresses, in the three ways to say so: both families are listened on."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
def test_all_addresses_are_of_both_families(api: Any, upstream: Any, wire: Any, host: str) -> None:
    """Reported as ``[::]``; reached over IPv4 and IPv6. Populated again it is the same only if written so."""
    entry = {"name": "p", "listen": f"{host}:0", "upstream": upstream().address}
    found = json.loads(api.call("POST", "/proxies", entry)[2])
    said, _, port = found["listen"].rpartition(":")
    assert said == "[::]"
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, int(port)), timeout=5) as sock:
            wire.round_trip(sock)
    assert api.call("POST", "/proxies/p/toxics", {"type": "noop"})[0] == 200
    again = json.loads(api.call("POST", "/populate", [{**entry, "listen": f"{host}:{port}"}])[2])
    assert [toxic["type"] for toxic in again["proxies"][0]["toxics"]] == (["noop"] if host == "[::]" else [])


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
def test_a_port_that_is_taken(api: Any, host: str) -> None:
    """Told with the address in the original's words."""
    first = json.loads(api.call("POST", "/proxies", {"name": "p", "listen": f"{host}:0", "upstream": "u:1"})[2])
    port = first["listen"].rpartition(":")[2]
    status, _, body = api.call("POST", "/proxies", {"name": "q", "listen": f"{host}:{port}", "upstream": "u:1"})
    told = host if host != "[::]" else "0.0.0.0"
    assert (status, json.loads(body)["error"]) == (500, f"listen tcp {told}:{port}: bind: address already in use")
