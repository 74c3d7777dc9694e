"""Ports: below the ephemeral ones, and never the same for two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.system import ports


def test_a_port_can_be_bound_and_is_given_once():
    """A hundred ports are a hundred different ones, all in the range, all free."""
    given = [ports.free_port() for _ in range(100)]
    assert len(set(given)) == 100
    assert all(ports.FIRST <= port <= ports.LAST for port in given)
    with socket.socket() as server:
        server.bind(("127.0.0.1", given[0]))


def test_another_process_gets_other_ports(monkeypatch):
    """With only three ports in the range, a second process finds what the first one left, then nothing."""
    script = (
        "import sys; from chaoskit.system import ports; from chaoskit.base.errors import BrokenError\n"
        "ports.FIRST, ports.LAST = map(int, sys.argv[1:])\n"
        "found = []\n"
        "try:\n"
        "    while True: found.append(ports.free_port())\n"
        "except BrokenError: print(*found)\n"
    )
    first = ports.free_port()
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "LAST", first)
    with pytest.raises(BrokenError, match="no free port"):
        ports.free_port()
    done = subprocess.run(
        [sys.executable, "-c", script, str(first), str(first + 2)], capture_output=True, text=True, check=True
    )
    found = [int(port) for port in done.stdout.split()]
    assert first not in found
    assert len(found) == len(set(found)) <= 2


@pytest.mark.parametrize("planted", ["link", "folder", "pipe"])
def test_what_another_has_planted_is_not_followed(planted, tmp_path, monkeypatch):
    """Anybody may write to the folder for temporary files: nothing is made where a link leads."""
    monkeypatch.setattr(ports, "_file", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock, elsewhere = tmp_path / f"chaoskit-ports-{os.getuid()}.lock", tmp_path / "elsewhere"
    {"link": lambda: lock.symlink_to(elsewhere), "folder": lock.mkdir, "pipe": lambda: os.mkfifo(lock)}[planted]()
    with pytest.raises(BrokenError, match="by which runs share the ports"):
        ports.free_port()
    assert not elsewhere.exists()
