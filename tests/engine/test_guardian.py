"""The guardian: a fault ends with its lease though the engine hangs; what a dead run left is undone at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.system.guardian import LOOK, Guardian, start_guardian
from chaoskit.system.journal import Journal
from chaoskit.system.sweep import opened, state_folder, sweep
from chaoskit.system.undo import MARGIN, lease

OWNER = """
import pathlib, sys, time
from chaoskit.system.guardian import start_guardian
from chaoskit.system.journal import Journal
from chaoskit.system.undo import lease
folder = pathlib.Path(sys.argv[1])
journal = Journal.of_run("r1", folder)
guardian = start_guardian(journal)
journal.make_folder(folder / "data")
print(guardian.pid, flush=True)
time.sleep(60)
"""


def exists(pid):
    """Whether a process of this number runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def owner(tmp_path):
    """A process with a journal, a folder and a guardian; and the guardian's pid."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    yield process, pid
    process.kill()
    process.communicate()
    sweep()


def test_it_sweeps_what_a_killed_owner_left(owner, tmp_path):
    """At once: the folder goes, both copies of the journal go, the guardian goes; a log says so."""
    process, guardian = owner
    copies = [tmp_path / "undo.journal", *state_folder().glob("r1-*.journal")]  # the second is the one that counts
    assert len(copies) == 2
    assert state_folder().stat().st_mode & 0o777 == 0o700
    process.kill()
    process.wait()
    wait_for(lambda: not exists(guardian), what="the guardian to end", limit=20)
    assert [path.name for path in tmp_path.iterdir()] == ["guardian.log"]
    assert not any(path.exists() for path in copies)
    assert f"folder {tmp_path}/data of run r1" in (tmp_path / "guardian.log").read_text()


def test_a_killed_guardian_leaves_it_to_the_next_sweep(owner, tmp_path):
    """As it was without one; its own pidfile is swept too."""
    process, guardian = owner
    os.kill(guardian, signal.SIGKILL)
    wait_for(lambda: not exists(guardian), what="the guardian's death", limit=10)
    process.kill()
    process.wait()
    assert (tmp_path / "data").exists()
    swept = sweep()
    assert len(set(swept)) == len(swept)  # each once, not for each copy; the guardian too if nobody has reaped it yet
    assert {text.split()[0] for text in swept} >= {"folder", "file"}
    assert list(tmp_path.iterdir()) == list(state_folder().glob("r1-*")) == []


def test_a_deleted_copy_loses_nothing(owner, tmp_path):
    """What lies in the reports folder is for people; what counts is in the user's state folder."""
    process, guardian = owner
    os.kill(guardian, signal.SIGKILL)
    process.kill()
    process.wait()
    (tmp_path / "undo.journal").unlink()
    assert f"folder {tmp_path / 'data'} of run r1" in sweep()
    assert not (tmp_path / "data").exists()


def test_a_deleted_journal_is_still_swept_by_the_guardian(owner, tmp_path):
    """It has it open: whoever cleans his home while a run is on loses nothing."""
    process, guardian = owner
    wait_for(lambda: " (python" in Path(f"/proc/{guardian}/stat").read_text(), what="the guardian", limit=10)
    (journal,) = state_folder().glob("r1-*.journal")
    following = lambda: any(Path(fd).resolve() == journal for fd in Path(f"/proc/{guardian}/fd").iterdir())  # noqa: E731
    wait_for(following, what="the guardian to follow the journal", limit=20)
    journal.unlink()
    process.kill()
    process.wait()
    wait_for(lambda: not exists(guardian), what="the guardian to end", limit=20)
    assert not (tmp_path / "data").exists()


def test_the_log_of_a_guardian_follows_no_link(owner, tmp_path):
    """Whatever a service has made of the run's folder, nothing is written elsewhere."""
    process, guardian = owner
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / "guardian.log").symlink_to(tmp_path / "theirs")
    process.kill()
    process.wait()
    wait_for(lambda: not exists(guardian), what="the guardian to end", limit=20)
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "theirs").read_text() == "precious"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_of_the_terminal_do_not_end_it(owner, number):
    """It is needed most when everybody else is told to go."""
    _, guardian = owner

    def ignored():
        status = Path(f"/proc/{guardian}/status").read_text()
        return int(status.split("SigIgn:")[1].split()[0], 16) >> (number - 1) & 1

    wait_for(ignored, what=f"the guardian to ignore {number.name}", limit=10)
    os.kill(guardian, number)  # the kernel drops what is ignored at once
    assert exists(guardian)


@pytest.fixture
def guarded(tmp_path):
    """A journal of this process with its guardian."""
    journal = Journal(tmp_path / "run" / "undo.journal")
    process = start_guardian(journal)
    yield journal
    journal.undo_all()
    process.terminate()
    journal.close()
    assert not list(journal.path.parent.glob("*.pid"))
    assert not journal.path.exists()


def test_a_lease_ends(guarded, tmp_path):
    """Made under a lease: undone at its end and not before, though the owner lives and does nothing."""
    sleeper = subprocess.Popen(["sleep", "60"])
    stat = Path(f"/proc/{sleeper.pid}/stat")
    try:
        end = time.monotonic() + 1.0
        with lease(end):
            start = int(stat.read_text().rpartition(")")[2].split()[19])
            number = guarded.add("signal", pid=sleeper.pid, start=start)
            folder = guarded.add("folder", path=guarded.root / "kept")
        (guarded.root / "kept").mkdir()
        sleeper.send_signal(signal.SIGSTOP)
        wait_for(lambda: " T " in stat.read_text(), what="it to stop", limit=20)
        limit = end + LOOK + 2.0 - time.monotonic()
        wait_for(lambda: " T " not in stat.read_text(), what="the lease to end", limit=limit, every=0.01)
        assert time.monotonic() >= end
        lines = [json.loads(line) for line in guarded.path.read_text().splitlines()]
        noted = lambda: {"done": number} in map(json.loads, guarded.path.read_text().splitlines())  # noqa: E731
        wait_for(noted, what="the note", limit=20)
        assert {"done": folder} not in lines
        assert (guarded.root / "kept").exists(), "what belongs to the run has no lease"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_file_that_is_no_journal(tmp_path):
    """Nothing to guard: it says so."""
    (tmp_path / "a.journal").write_text("{}\n")
    with pytest.raises(ValueError, match="is no journal"), opened(tmp_path / "a.journal") as handle:
        Guardian(tmp_path / "a.journal", handle)


# The engine itself

WORKER = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from chaoskit.failpoints import failpoint, register
register("work")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        failpoint("work")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words): pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

ENVIRONMENT = """
environment: leases
services:
  postgres: {provider: postgres}
  redis: {provider: redis}
  stub: {provider: http_stub, args: {routes: [{path: /ok, json: {}}]}}
  worker:
    command: [python, -m, chaoskit.failpoints.agent, worker.py]
    cwd: ..
    failpoints: true
    ready: {http: /}
"""

SCENARIO = """
scenario: Everything at once
environment: leases
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 50/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: stub, delay: 100ms}, at: 0s, for: 3s}
    - gone: {down: {on: redis}, at: 0s, for: 3s}
    - hung: {pause: {service: postgres}, at: 0s, for: 3s}
    - late: {sleep: {service: worker, at: work, delay: 10ms}, at: 0s, for: 3s}
    - full: {pool_exhaustion: {on: stub, hold: 5}, at: 0s, for: 3s}
  recovery: 2s
expect:
  recovery: {within: 2s}
"""


class Scene:
    """What an outsider sees of the five faults."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (process / "environ").read_bytes()
                if str(folder).encode() in environ:
                    self.names[int(process.name)] = ((process / "cmdline").read_bytes().decode(), environ.decode())

    def _find(self, pattern, place=0):
        found = [match for texts in self.names.values() if (match := re.search(pattern, texts[place]))]
        return found[0][1] if found else None

    def faults(self):
        """Names of those that are on."""
        port = self._find(r"chaoskit\.toxiproxy\.server.*-port\0(\d+)")
        failpoints = self._find(r"GOFAIL_HTTP=([\d.:]+)", 1)
        if not port or not failpoints:
            return set()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/proxies", timeout=5) as answer:
            proxies = json.load(answer)
        found = set()
        if proxies.get("stub", {}).get("toxics"):
            found.add("latency")
        if "redis" in proxies and not proxies["redis"]["enabled"]:
            found.add("down")
        for pid, (command, _) in self.names.items():
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if "postgres" in command and state == "T":
                    found.add("pause")
                if "_pool_holder" in command and state not in "ZX":
                    found.add("pool_exhaustion")
        with contextlib.suppress(FailpointError):
            if FailpointClient(f"http://{failpoints}").list().get("work"):
                found.add("failpoint")
        return found


ALL = {"latency", "down", "pause", "failpoint", "pool_exhaustion"}


def test_faults_end_though_the_engine_hangs(tmp_path):
    """pytest stopped (SIGSTOP) in mid-fault: each fault is lifted within its lease; woken up, the run is broken."""
    environments = tmp_path / "scenarios" / "environments"
    environments.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "scenarios" / "worker.py").write_text(WORKER)
    (environments / "leases.yaml").write_text(ENVIRONMENT)
    (tmp_path / "scenarios" / "all.chaos.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "pytest", "--chaos", "--chaos-attempts=1", "scenarios", "-p", "no:cacheprovider"]
    marked = {**os.environ, "BELONGS_TO": str(tmp_path)}  # by which all its descendants are known
    with subprocess.Popen(
        command, cwd=tmp_path, env=marked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        try:
            wait_for(
                lambda: run.poll() is not None or Scene(tmp_path).faults() == ALL, what="all faults to be on", limit=40
            )
            assert run.poll() is None, run.stdout.read()
            run.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            assert Scene(tmp_path).faults() == ALL, "they were to be on while the engine stands still"
            wait_for(lambda: not Scene(tmp_path).faults(), what="the leases to end", limit=3.0 + MARGIN + 5.0)
            assert time.monotonic() - stopped > MARGIN - 1.0, "a lease does not end before the fault does"
            log = "\n".join(path.read_text() for path in tmp_path.glob("reports/runs/*/guardian.log"))
            for kind in ("signal postgres", "disabled redis", "failpoint work"):
                assert f"{kind}: its lease has ended" in log
            run.send_signal(signal.SIGCONT)
            output, _ = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 1
    assert "BROKEN" in output, output
    rows = "".join(path.read_text() for path in tmp_path.glob("reports/runs/*/*/faults.jsonl"))
    assert "the fault was lifted by its lease" in rows, output
    assert not Scene(tmp_path).names
