"""Clients written for the original, unchanged: of Python, of JavaScript (npm), of Go (its own).

The programs are in ``tests/toxiproxy/clients``; each drives its client's whole API and checks what it gets.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"


def built(source: str, folder: Path, command: list[str]) -> Path:
    """A copy of a client's program with what it needs from its registry; skips when that cannot be had."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on PATH: the {source} client is not tried")
    shutil.copytree(CLIENTS / source, folder / source)
    try:
        subprocess.run(command, cwd=folder / source, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the {source} client could not be had: {error.stderr[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"the {source} client could not be had: {command[0]} took more than 300 s")
    return folder / source


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the program that drives toxiproxy-node-client."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    return ["node", str(built("node", tmp_path_factory.mktemp("node"), command) / "drive.js")]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the program that drives the Go client."""
    return [str(built("go", tmp_path_factory.mktemp("go"), ["go", "build", "-o", "drive", "."]) / "drive")]


@pytest.mark.parametrize("client", ["node", "go"])
def test_clients_of_other_languages(
    run: Callable[..., Any], upstream: Any, client: str, request: pytest.FixtureRequest
) -> None:
    """They find what they expect, in answers, errors and on the wire."""
    command = request.getfixturevalue(client)
    with run() as server:
        done = subprocess.run(
            [*command, server.url, upstream().address], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all held\n", "")


def test_client_of_python(run: Callable[..., Any], upstream: Any, wire: Any) -> None:
    """toxiproxy-python as it is, without chaoskit's adapter."""
    from toxiproxy import Toxiproxy
    from toxiproxy.exceptions import NotFound, ProxyExists

    target = upstream().address

    def open_to(proxy: Any) -> socket.socket:
        host, _, port = proxy.listen.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=5)

    with run() as server:
        toxiproxy = Toxiproxy()
        toxiproxy.update_api_consumer(server.host, server.port)
        assert toxiproxy.running()
        assert b'"version"' in toxiproxy.version()
        proxy = toxiproxy.create(target, "py", "127.0.0.1:0")
        with pytest.raises(ProxyExists):
            toxiproxy.create(target, "py")
        proxy.add_toxic(type="latency", name="late", attributes={"latency": 80})
        with open_to(proxy) as sock:
            assert wire.round_trip(sock) >= 0.08
            proxy.destroy_toxic("late")
            assert wire.round_trip(sock) < 0.08
        with proxy.down(), pytest.raises(ConnectionRefusedError):
            open_to(proxy)
        with open_to(proxy) as sock:
            wire.round_trip(sock)
        proxy.add_toxic(type="noop")
        proxy.disable()
        toxiproxy.reset()
        found = toxiproxy.get_proxy("py")
        assert (found.enabled, found.toxics()) == (True, {})
        other = {"name": "other", "listen": "127.0.0.1:0", "upstream": target}
        assert [each.name for each in toxiproxy.populate([other])] == ["other"]
        assert sorted(toxiproxy.proxies()) == ["other", "py"]
        assert toxiproxy.destroy(found)
        with pytest.raises(NotFound):
            found.destroy()
        toxiproxy.destroy_all()
        assert toxiproxy.proxies() == {}
