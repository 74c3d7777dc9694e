"""The lines of the log: one JSON object each on stdout, with the original's messages, levels and fields.

Both servers; what only one of them writes beside these is not looked at.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.base.clock import wait_for

Run = Callable[..., Any]
ENTRY = {"name": "a", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}


def test_log_of_a_life(run: Run, upstream: Any, wire: Any) -> None:
    """One line each, with name, listen, upstream, client, at the original's levels."""
    with run() as found:
        assert found.logged("Starting Toxiproxy")[0]["version"]
        assert found.logged("Starting Toxiproxy HTTP server")[0]["address"].endswith(f":{found.port}")
        target = upstream().address
        port = found.listens({**ENTRY, "upstream": target})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            peer = f"127.0.0.1:{sock.getsockname()[1]}"
            wire.round_trip(sock)
        found.call("DELETE", "/proxies/a")
        for message, client in (("Started proxy", None), ("Accepted client", peer), ("Terminated proxy", None)):
            row = found.logged(message)[0]
            assert (row["level"], row["name"], row["upstream"], row.get("client")) == ("info", "a", target, client)
            assert row["listen"].startswith("127.0.0.1:")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])


def test_log_of_failures(run: Run, upstream: Any, wire: Any) -> None:
    """Nobody at the upstream; a reset by the source; a target that is gone."""

    def reset(sock: socket.socket) -> None:
        sock.recv(100)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with run() as found:
        for name, target in (("down", "127.0.0.1:1"), ("reset", upstream(reset).address)):
            port = found.listens({**ENTRY, "name": name, "upstream": target})
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                if name == "reset":
                    sock.sendall(b"x")
                assert wire.end(sock) == "fin"
        row = found.logged("Unable to open connection to upstream")[0]
        assert (row["level"], row["name"], row["error"]) == (
            "error",
            "down",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        )
        assert row["client"].startswith("127.0.0.1:")
        row = found.logged("Source terminated")[0]
        assert (row["level"], row["name"], row["bytes"]) == ("warn", "reset", 0)
        assert row["error"].endswith("connection reset by peer")


def test_log_of_a_lost_target(run: Run, upstream: Any) -> None:
    """A client that resets while the upstream goes on sending."""

    def flood(sock: socket.socket) -> None:
        while True:
            sock.sendall(b"x" * 65536)

    with run() as found:
        port = found.listens({**ENTRY, "upstream": upstream(flood).address})
        found.call("POST", "/proxies/a/toxics", {"type": "latency", "attributes": {"latency": 100}})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        row = found.logged("Could not write to destination")[0]
        assert (row["level"], row["name"]) == ("warn", "a")
        assert row["error"].endswith(("connection reset by peer", "broken pipe"))
        assert row["bytes"] > 0


def test_log_of_the_api(run: Run) -> None:
    """At debug each call, with the number that its answer has; warnings for what is old or wrong."""
    with run(LOG_LEVEL="debug") as found:
        found.call("POST", "/proxies", ENTRY)
        found.call("POST", "/proxies/a/toxics", {"type": "latency", "name": "t"})
        found.call("POST", "/proxies/a/toxics/t", {})
        found.call("POST", "/populate", "x")
        found.call("POST", "/proxies", {**ENTRY, "name": "b", "listen": "foo"})
        _, headers, body = found.call("POST", "/proxies/a", {}, {"User-Agent": "me"})
        number = headers["x-toxiproxy-request-id"]
        row = wait_for(
            lambda: [
                row for row in map(json.loads, list(found.log)) if row.get("request_id") == number and "size" in row
            ],
            what="the line of the call",
            limit=5,
        )[0]
        assert {name: row[name] for name in ("level", "method", "url", "user_agent", "status", "size", "handler")} == {
            "level": "debug", "method": "POST", "url": "/proxies/a", "user_agent": "me", "status": 200,
            "size": len(body), "handler": "ProxyUpdate",
        }  # fmt: skip
        for message in (
            "ToxicUpdate: HTTP method POST is depercated. Use HTTP PATCH instead.",
            "ProxyUpdate: HTTP method POST is depercated. Use HTTP PATCH instead.",
            "Populate errors",
            "Error did not include status code",
        ):
            assert found.logged(message)[0]["level"] == "warn"


@pytest.mark.parametrize("level", ["info", "warn", "error"])
def test_log_level(run: Run, level: str) -> None:
    """What is below it is not written."""
    with run(LOG_LEVEL=level) as found:
        found.call("POST", "/proxies", ENTRY)
        found.call("POST", "/proxies/a", {})
        found.call("DELETE", "/proxies/a")
    assert {json.loads(line)["level"] for line in found.log} == {
        "info": {"info", "warn"},
        "warn": {"warn"},
        "error": set(),
    }[level]


def test_unknown_log_level(run: Run) -> None:
    """It is said, and the server starts."""
    with run(LOG_LEVEL="loud") as found:
        assert found.logged('unknown LOG_LEVEL value: "loud"')[0]["level"] == "error"
