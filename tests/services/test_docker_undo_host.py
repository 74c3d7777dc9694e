"""What a run made on a Docker daemon is undone on that daemon, whatever ``DOCKER_HOST`` the sweep has.

The daemons here are HTTP servers on Unix sockets that know of no container: no Docker is needed.
"""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.faults._container import give_back
from chaoskit.services.docker import daemon
from chaoskit.services.docker.endpoint import USUAL
from chaoskit.system.journal import sweep

pytest.importorskip("docker", reason="Docker's client is not installed (pip install 'chaoskit[docker]')")

OWNER = """
import os, sys
from pathlib import Path
from chaoskit.faults._container import register_kind  # the kinds of container faults
from chaoskit.system.journal import Journal
from chaoskit.services.docker import undo
journal = Journal(Path(sys.argv[1]), run_id="killed")
undo.add(journal, "container", "chaoskit-killed-orders")
journal.add("pause", name="orders", id="abc", host=undo.where())
os._exit(9)
"""


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker daemon that has nothing, and remembers what it was asked. First it says no with its ``refusals``."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.host = f"unix://{path}"
        self.asked: list[str] = []
        self.refusals: list[str] = []
        self.kernel = os.uname().release
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        """End it, with its socket."""
        self.shutdown()
        self.thread.join()
        self.server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)


class _Handler(BaseHTTPRequestHandler):
    server: Daemon

    def _answer(self) -> None:
        version = self.path == "/version"
        if not version:
            self.server.asked.append(f"{self.command} /{self.path.partition('/')[2].partition('/')[2]}")
        told = {"ApiVersion": "1.44", "KernelVersion": self.server.kernel}
        status, said = (200, told) if version else (404, {"message": "no such container"})
        if not version and self.server.refusals:
            status, said = 500, {"message": self.server.refusals.pop(0)}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  # http.server wants these names

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """The one that the run used, and the one that DOCKER_HOST names when its leftovers are swept."""
    both = Daemon(tmp_path / "a.sock"), Daemon(tmp_path / "b.sock")
    yield both
    for each in both:
        client = daemon._clients.pop(each.host, None)
        if client is not None:
            client.close()
        if each.thread.is_alive():
            each.stop()


def killed(folder: Path, host: str) -> Path:
    """The journal of a run with this DOCKER_HOST (empty: none) that was killed."""
    file = folder / "killed.journal"
    environ = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    environ |= {"DOCKER_HOST": host} if host else {"DOCKER_CONTEXT": "default"}
    subprocess.run([sys.executable, "-c", OWNER, str(file)], env=environ, timeout=60, check=False)
    return file


def hosts(journal: Path) -> list[object]:
    """What the entries say of the daemon."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return [line["facts"].get("host") for line in lines if "add" in line]


def test_it_is_undone_where_it_was_made(tmp_path: Path, daemons: tuple[Daemon, Daemon], monkeypatch) -> None:
    """Both entries name the daemon; only that one is asked."""
    theirs, other = daemons
    journal = killed(tmp_path, theirs.host)
    assert hosts(journal) == [theirs.host, theirs.host]
    monkeypatch.setenv("DOCKER_HOST", other.host)
    assert sorted(sweep(tmp_path)) == ["container chaoskit-killed-orders of run killed", "pause orders of run killed"]
    assert {"POST /containers/abc/unpause", "GET /containers/chaoskit-killed-orders/json"} == set(theirs.asked)
    assert other.asked == []
    assert not journal.exists()
    assert daemon.host() == other.host


def test_a_daemon_that_does_not_answer_keeps_the_entry(
    tmp_path: Path, daemons: tuple[Daemon, Daemon], monkeypatch
) -> None:
    """It is told which, nobody else is asked, and the next sweep finds what is left."""
    theirs, other = daemons
    journal = killed(tmp_path, theirs.host)
    theirs.stop()
    monkeypatch.setenv("DOCKER_HOST", other.host)
    told = sweep(tmp_path)
    assert len(told) == 2
    assert all(f"could not be undone: no Docker daemon answers at {theirs.host}: " in text for text in told)
    assert other.asked == []
    assert hosts(journal) == [theirs.host, theirs.host]


def test_without_a_host_in_the_entry(tmp_path: Path, daemons: tuple[Daemon, Daemon], monkeypatch) -> None:
    """One of an older version is undone where DOCKER_HOST says; the usual place is written down as such."""
    _, other = daemons
    journal = killed(tmp_path, "")
    assert hosts(journal) == [USUAL, USUAL]
    text = journal.read_text(encoding="utf-8").replace(f'"host":"{USUAL}"', '"old":""')
    journal.write_text(text, encoding="utf-8")
    monkeypatch.setenv("DOCKER_HOST", other.host)
    assert len(sweep(tmp_path)) == 2
    assert "POST /containers/abc/unpause" in other.asked


def test_an_unset_docker_host_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual place is another one than what DOCKER_HOST names now."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    with daemon.at(""):
        assert daemon.host() == USUAL
    with daemon.at(None):
        assert daemon.host() == "unix:///elsewhere.sock"


def test_credentials_are_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a daemon is refused before anything is made, and its password not told."""
    from chaoskit.services.docker import undo

    monkeypatch.setenv("DOCKER_HOST", "tcp://me:hunter22@build:2376")
    with pytest.raises(BrokenError, match=r"DOCKER_HOST=tcp://me:\*\*\*@build:2376: only a Docker daemon"):
        undo.where()
    assert "hunter22" not in daemon.refusal()


def test_a_daemon_behind_a_socket_that_leads_elsewhere(daemons: tuple[Daemon, Daemon]) -> None:
    """A forwarded socket, or that of a virtual machine: its kernel tells."""
    there = daemons[0]
    there.kernel = "5.15.0-of-another-machine"
    with daemon.at(there.host):
        assert "runs on another kernel (5.15.0-of-another-machine, here " in daemon.refusal()
        there.kernel = os.uname().release
        daemon.client()


def test_limits_are_given_back_to_what_is_just_ending(daemons: tuple[Daemon, Daemon]) -> None:
    """Docker refuses for a moment that is too short to be hit at will; another refusal is told at once."""
    ending = daemons[0]
    ending.refusals = ["runc did not terminate successfully: container not running"] * 3
    with daemon.at(ending.host):
        give_back("abc", "orders", {"mem_limit": 1 << 30})
        assert ending.asked == ["POST /containers/abc/update"] * 4
        ending.refusals = ["no space left on device"]
        with pytest.raises(daemon.Refused, match="no space left"):
            give_back("abc", "orders", {"mem_limit": 1 << 30})
    assert len(ending.asked) == 5


@pytest.mark.parametrize("kernel", ["", "5.4.0-of-another-machine"])
def test_a_daemon_that_may_be_of_another_machine_is_refused(daemons: tuple[Daemon, Daemon], kernel: str) -> None:
    """By the kernel that it runs on; one that names none is not known to be here."""
    daemons[0].kernel = kernel
    with daemon.at(daemons[0].host), pytest.raises(BrokenError, match="runs on another kernel"):
        daemon.client()


def test_a_socket_that_leads_elsewhere_is_refused(
    daemons: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes calls on may lead to another machine, whatever the daemon there says of its kernel."""
    monkeypatch.setattr(daemon, "FORWARDERS", {Path("/proc/self/comm").read_text().strip()})
    with daemon.at(daemons[0].host), pytest.raises(BrokenError, match="passes on what it is asked"):
        daemon.connect(5.0)
