"""The command: flags, configuration file, signals, metrics.

``chaoskit proxy`` and the original's binary, through the same tests.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for

Run = Callable[..., Any]
ENTRY = {"name": "a", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["-version"], 0, r"toxiproxy-server version \S+\n"),
        (["--version=true"], 0, r"toxiproxy-server version \S+\n"),
        (["-help"], 0, "(?s).*-config string.*-host string.*-port string.*-proxy-metrics.*-seed int.*-version.*"),
        (["-nope"], 2, "(?s)flag provided but not defined: -nope\nUsage of .*"),
        (["-port"], 2, "(?s)flag needs an argument: -port\nUsage of .*"),
        (["-seed", "x"], 2, '(?s)invalid value "x" for flag -seed: parse error\nUsage of .*'),
        (["-version=x"], 2, '(?s)invalid boolean value "x" for -version: parse error\nUsage of .*'),
    ],
)
def test_flags(command: list[str], arguments: list[str], code: int, text: str) -> None:
    """Go's flags, and its words for wrong ones."""
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=10)
    assert done.returncode == code
    assert re.fullmatch(text, done.stdout + done.stderr)


def test_loopback_by_default(run: Run) -> None:
    """Without -host only loopback's own address is listened on."""
    with run() as found, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", found.port), timeout=5).close()


@pytest.mark.parametrize("flag", [["-host", "127.0.0.2"], ["--host=127.0.0.2"]])
def test_host(run: Run, flag: list[str]) -> None:
    """Another address, in both of Go's spellings."""
    with run(*flag, host="127.0.0.2") as found:
        assert found.call("GET", "/version")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", found.port), timeout=5)


def test_config(run: Run, tmp_path: Path) -> None:
    """The array of /populate; what is no flag ends the flags."""
    config = tmp_path / "proxies.json"
    config.write_text(json.dumps([ENTRY, {**ENTRY, "name": "b", "enabled": False}]))
    with run("-config", str(config), "-seed", "5", "rest", "-nope") as found:
        shown = json.loads(found.call("GET", "/proxies")[2])
        assert {name: each["enabled"] for name, each in shown.items()} == {"a": True, "b": False}
        assert found.logged("Populated proxies from file")[0]["proxies"] == 2


@pytest.mark.parametrize(
    ("text", "message", "error"),
    [
        (None, "Error reading config file", "no such file or directory"),
        ("{", "Failed to populate proxies from file", "bad request body: unexpected EOF"),
        ('[{"name": "a"}]', "Failed to populate proxies from file", "missing required field: upstream at proxy 1"),
    ],
)
def test_wrong_config(run: Run, tmp_path: Path, text: str | None, message: str, error: str) -> None:
    """Logged, and the server starts."""
    config = tmp_path / "proxies.json"
    if text is not None:
        config.write_text(text)
    with run("-config", str(config)) as found:
        row = found.logged(message)[0]
        assert (row["level"], error in row["error"].lower() or error in row["error"]) == ("error", True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(run: Run, upstream: Any, connect: Any, wire: Any, number: int) -> None:
    """Everything is closed, and it ends with 0."""
    with run() as found:
        port = found.listens({**ENTRY, "upstream": upstream().address})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            wire.round_trip(sock)
            found.process.send_signal(number)
            assert wire.end(sock) == "fin"
        assert found.process.wait(5) == 0
        assert found.logged("Shutdown started")[0]["level"] == "info"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", found.port), timeout=5)


def test_proxy_metrics(run: Run, upstream: Any, wire: Any) -> None:
    """Bytes of closed connections, by direction; any method; 404 without a flag is in the table of the API."""
    with run("-proxy-metrics") as found:
        target = upstream().address
        port = found.listens({**ENTRY, "upstream": target})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            wire.round_trip(sock, b"12345")
        labels = f'listener="127.0.0.1:{port}",proxy="a",upstream="{target}"'

        def counted() -> list[str]:
            lines = found.call("POST", "/metrics")[2].splitlines()
            return [line for line in lines if labels in line and line.endswith(" 5")]

        shown = wait_for(lambda: found_ if len(found_ := counted()) >= 3 else None, what="the bytes", limit=5)
        assert f'toxiproxy_proxy_received_bytes_total{{direction="upstream",{labels}}} 5' in shown
        assert f'toxiproxy_proxy_sent_bytes_total{{direction="upstream",{labels}}} 5' in shown
        status, headers, text = found.call("GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")
        assert "# TYPE toxiproxy_proxy_sent_bytes_total counter\n" in text
        assert "process_cpu_seconds_total" not in text


def test_runtime_metrics(run: Run) -> None:
    """The process's own figures, and none of the proxies."""
    with run("-runtime-metrics") as found:
        text = found.call("GET", "/metrics")[2]
        assert re.search(r"^process_cpu_seconds_total \d", text, re.MULTILINE)
        assert re.search(r"^process_start_time_seconds \d", text, re.MULTILINE)
        assert "toxiproxy_proxy_" not in text
