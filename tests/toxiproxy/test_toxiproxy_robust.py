"""The server under nonsense, under many hands at once, and with thousands of connections."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.launch import server_command

SECONDS = float(os.environ.get("CHAOSKIT_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("CHAOSKIT_FUZZ_SEED", "0"))
NAMES = ["a", "b", "ü/ö", "x y", "\ud800", "%2F", "🐙" * 50, "..", "a?b", ""]
VALUES = [0, -1, 1, 2**63 - 1, 2**63, 10**400, 1e308, 0.5, "", "x", None, True, [], {}, "127.0.0.1:0", "[::1"]
_KINDS = "bandwidth blackhole http latency limit_data noop refuse reset_peer slicer slow_close timeout no"
_FIELDS = "name listen upstream enabled type stream toxicity ttl after every first chaoskit_toxics attributes"
_ATTRIBUTES = "latency jitter rate delay timeout average_size size_variation bytes status cut path share first"
RAW = [
    "",
    "{",
    "[" * 3000,
    '{"toxicity": NaN}',
    '{"toxicity": 1e999}',
    "1" * 6000,
    "\x00",
    '"\\ud800"',
    "null",
]

KINDS, FIELDS, ATTRIBUTES = _KINDS.split(), _FIELDS.split(), _ATTRIBUTES.split()


def open_files(server: Any) -> int:
    """Descriptors of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def body(chance: random.Random, target: str) -> Any:
    """Mostly sensible, so that something happens; a tenth is nonsense throughout."""
    if chance.random() < 0.1:
        return chance.choice(RAW)
    entry: dict[str, Any] = {"name": chance.choice(NAMES), "upstream": target, "listen": "127.0.0.1:0"}
    entry["type"] = chance.choice(KINDS)
    entry["attributes"] = {chance.choice(ATTRIBUTES): chance.choice(VALUES) for _ in range(2)}
    if chance.random() < 0.5:
        entry[chance.choice(FIELDS)] = chance.choice(VALUES)
    return entry if chance.random() < 0.8 else [entry]


def attack(server: Any, seed: int, target: str, wrong: list[str]) -> None:
    """Random calls and connections until the time is over."""
    chance = random.Random(seed)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        name = quote(chance.choice(NAMES).encode("utf-8", "replace"), safe="")
        path = chance.choice(["/proxies", "/populate", "/proxies/{}", "/proxies/{}/toxics", "/proxies/{}/toxics/{}",
                              "/reset", "/chaoskit/taps/{}", "/chaoskit/events?since=0&flush=1"])  # fmt: skip
        method = chance.choice(["GET", "POST", "POST", "PATCH", "DELETE", "PUT"])
        try:
            wanted = body(chance, target)
            sent = wanted if isinstance(wanted, str) else json.dumps(wanted)
            status, _, text = server.call(method, path.format(name, name), sent)
            if status >= 500 and "listen tcp" not in text and "missing port" not in text and "address" not in text:
                wrong.append(f"{status} to {method} {path} {sent}: {text}")
            for shown in json.loads(server.call("GET", "/proxies")[2]).values():
                host, _, port = shown["listen"].rpartition(":")
                if host == "127.0.0.1" and chance.random() < 0.3:
                    touch(int(port), reset=chance.random() < 0.5)
        except Exception as error:
            wrong.append(f"{error!r} at {method} {path}")


def touch(port: int, reset: bool) -> None:
    """Send a request through a proxy, and leave, with FIN or RST."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.settimeout(0.02)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.recv(100)
    except OSError:
        return  # refused, reset, silent: all fine


def test_random_calls(start: Callable[..., Any], upstream: Any) -> None:
    """No 5xx but for addresses, no unexpected error, no descriptor left; it ends with 0.

    A longer run: CHAOSKIT_FUZZ_SECONDS=60 CHAOSKIT_FUZZ_SEED=100.
    """
    target = upstream().address
    wrong: list[str] = []
    with start(server_command(seed=1)) as server:
        before = open_files(server)
        threads = [Thread(target=attack, args=(server, SEED + number, target, wrong)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in json.loads(server.call("GET", "/proxies")[2]):
            server.call("DELETE", f"/proxies/{quote(name, safe='')}")
        wait_for(lambda: open_files(server) <= before + 1, what="all descriptors to be closed", limit=5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0
    assert not [line for line in server.log if "Unexpected error" in line][:1]
    assert not wrong, wrong[:5]


def test_thousands_of_idle_connections(start: Callable[..., Any]) -> None:
    """2,000 of them; the API stays quick, and all are gone afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            server = stack.enter_context(start(server_command()))
            target = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
            entry = {"name": "a", "upstream": f"127.0.0.1:{target.getsockname()[1]}", "listen": "127.0.0.1:0"}
            port = int(json.loads(server.call("POST", "/proxies", entry)[2])["listen"].rpartition(":")[2])
            before = open_files(server)
            for _ in range(2000):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            wait_for(lambda: open_files(server) >= 4000, what="all connections", limit=20)
            began = time.monotonic()
            assert server.call("GET", "/proxies")[0] == 200
            assert time.monotonic() - began < 1
            assert server.call("DELETE", "/proxies/a")[0] == 204
            wait_for(lambda: open_files(server) <= before, what="all descriptors to be closed", limit=10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
