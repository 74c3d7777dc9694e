"""The API's HTTP: connections, flags, metrics, start and stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.launch import address_in, server_command

COMMAND = [sys.executable, "-m", "chaoskit.toxiproxy.server"]


def test_many_requests_on_one_connection(server: Any) -> None:
    """Keep-alive, pipelining, a body in pieces, and Connection: close."""
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        sock.sendall(b"GET /proxies HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        sock.sendall(b"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        sock.sendall(b"ngth: 6\r\nConnection: close\r\n\r\n[1,")
        sock.sendall(b"2,]")
        received = b""
        while part := sock.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"HTTP/1.1 400 Bad Request") == 1


def test_garbage_is_answered_and_closed(server: Any) -> None:
    """What is not HTTP gets 400 and the end of the stream."""
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert sock.recv(1) == b""


def test_auth_token(start: Callable[..., Any]) -> None:
    """With TOXIPROXY_AUTH_TOKEN every call needs the token (as in 2.13)."""
    with start(server_command(), {"TOXIPROXY_AUTH_TOKEN": "secret"}) as locked:
        assert locked.call("GET", "/proxies")[0] == 401
        assert locked.call("GET", "/proxies", None, {"Authorization": "Bearer wrong"})[0] == 401
        assert locked.call("GET", "/proxies", None, {"Authorization": "Bearer secret"})[0] == 200


def test_metrics(start: Callable[..., Any], upstream: Any, wire: Any) -> None:
    """Bytes are counted while the connection is open, with the original's names and labels."""
    with start([*server_command(), "--proxy-metrics", "-runtime-metrics=true"]) as counted:
        target = upstream().address
        listen = json.loads(counted.call("POST", "/proxies", {"name": "a", "upstream": target})[2])["listen"]
        port = int(listen.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            wire.round_trip(sock, b"ping")
            text = counted.call("GET", "/metrics")[2]
        labels = f'direction="upstream",listener="{listen}",proxy="a",upstream="{target}"'
        assert f"toxiproxy_proxy_received_bytes_total{{{labels}}} 4\n" in text
        assert f"toxiproxy_proxy_sent_bytes_total{{{labels}}} 4\n" in text
        assert "process_cpu_seconds_total " in text


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["-help"], 0, "-exit-with-parent"),
        (["-port", "x"], 2, 'invalid value "x" for flag -port'),
        (["-port", "65536"], 2, 'invalid value "65536" for flag -port'),
        (["-exit-with-parent=x"], 2, 'invalid boolean value "x" for -exit-with-parent'),
    ],
)
def test_flags(arguments: list[str], code: int, text: str) -> None:
    """Flags beyond the original (its own are in the conformance tests)."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=10)
    assert (done.returncode, text in done.stdout + done.stderr) == (code, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(start: Callable[..., Any], upstream: Any, wire: Any, number: int) -> None:
    """It closes all connections and ends with status 0."""
    with start(server_command()) as ending:
        listen = json.loads(
            ending.call("POST", "/proxies", {"name": "a", "upstream": upstream().address, "listen": "127.0.0.1:0"})[2]
        )["listen"]
        with socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), timeout=5) as sock:
            wire.round_trip(sock)
            ending.process.send_signal(number)
            assert wire.end(sock) == "fin"
        assert ending.process.wait(5) == 0
    assert any('"Terminated proxy"' in line for line in ending.log)


def test_it_ends_with_its_parent() -> None:
    """Killing the process that started it ends it."""
    code = (
        "import subprocess, time; from chaoskit.toxiproxy.launch import server_command\n"
        "child = subprocess.Popen(server_command()); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    started = parent.stdout.readline() + parent.stdout.readline()
    assert "Starting Toxiproxy" in started
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: _gone(child), what="the end of the server", limit=5)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_does_not_start_without_its_parent() -> None:
    """A parent that is gone already ends it at once."""
    done = subprocess.Popen(["true"])
    done.wait()
    assert subprocess.run([*COMMAND, "-port", "0", f"-exit-with-parent={done.pid}"], timeout=10).returncode == 0


def test_a_log_nobody_reads_does_not_stop_it(upstream: Any) -> None:
    """With a full pipe on stdout the proxy goes on."""
    process = subprocess.Popen(server_command(), stdout=subprocess.PIPE, env={**os.environ, "LOG_LEVEL": "debug"})
    assert process.stdout is not None
    try:
        address = None
        while address is None:
            address = address_in(process.stdout.readline().decode())
        request = f"GET /{'x' * 30_000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        with socket.create_connection(address, timeout=5) as sock:
            for _ in range(20):  # 600 kB of log for a pipe of 64 kB
                sock.sendall(request)
                assert sock.recv(65536).startswith(b"HTTP/1.1 404")
    finally:
        process.terminate()
        assert process.wait(5) == 0
        process.stdout.close()


def test_start_is_quick_and_light() -> None:
    """Nothing heavy is imported, and the start takes a fraction of a second."""
    code = (
        "import sys, chaoskit.toxiproxy.server.__main__\n"
        "print(sorted({'pydantic', 'requests', 'aiohttp', 'pytest', 'asyncio', 'msgspec', 'ssl'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10)
    assert found.stdout == "[]\n", found.stderr
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([*COMMAND, "-version"], capture_output=True, timeout=10)
        times.append(time.monotonic() - began)
    assert min(times) < 0.5


def test_address_in_other_lines() -> None:
    """Only the line of the start tells an address."""
    assert address_in("garbage") is None
    assert address_in('{"message":"Starting Toxiproxy HTTP server"}') is None
    assert address_in('"Starting Toxiproxy HTTP server"') is None
    line = '{"msg":"Starting Toxiproxy HTTP server","host":"127.0.0.1","port":8474}'
    assert address_in(line) == ("127.0.0.1", 8474)
