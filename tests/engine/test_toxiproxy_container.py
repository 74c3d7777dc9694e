"""``--chaos-toxiproxy=docker``: the original in a container serves processes, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.engine.docker.toxiproxy import IMAGE, ToxiproxyContainer
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios
from chaoskit.services.docker import daemon
from chaoskit.system.journal import Journal, sweep
from chaoskit.toxiproxy.client import ToxiproxyControl


def _why_not() -> str:
    if shutil.which("docker") is None:
        return "no docker command to look with"
    if reason := daemon.refusal():
        return f"no Docker daemon answers: {reason}"
    there = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False)
    return "" if there.returncode == 0 else f"no image {IMAGE} on this machine: .ci/images makes it"


WHY_NOT = _why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def containers(*filters: str) -> list[str]:
    """Names of all containers, running or not."""
    words = [word for each in filters for word in ("--filter", each)]
    told = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Names}}", *words], capture_output=True, text=True, check=True
    )
    return told.stdout.split()


@pytest.fixture
def journal(tmp_path: Path):
    """A journal whose open entries are undone at the end."""
    journal = Journal(tmp_path / "undo.journal", run_id=f"test-{tmp_path.name}")
    yield journal
    journal.undo_all()
    journal.close()


def test_the_container_gives_the_same_verdict(project, tmp_path: Path) -> None:
    """The tap in front of it sees every exchange and what the toxic touched; afterwards the container is gone."""
    session = Session(tmp_path / "reports", toxiproxy="docker")
    try:
        (scenario,) = load_scenarios(project(delay="80ms", bound="< 2s"))
        result = session.run(scenario)
        assert containers(f"label=chaoskit.run={session.id}")
    finally:
        session.close()
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (fault,) = result.history.rows(r.Fault)
    assert fault.touched > 0
    assert len(result.history.rows(r.Exchange)) >= 100
    assert json.loads((result.folder / "run.json").read_text())["toxiproxy"].startswith("docker 2.")
    assert containers(f"label=chaoskit.run={session.id}") == []


def test_its_toxic_delays_the_requests(project, tmp_path: Path) -> None:
    """What was sent under the fault took the delay longer than what was sent before: the toxic really acts."""
    session = Session(tmp_path / "reports", toxiproxy="docker")
    try:
        (scenario,) = load_scenarios(project(delay="300ms", length="2s", bound="< 20s"))
        history = session.run(scenario).history
    finally:
        session.close()
    (fault,) = history.rows(r.Fault)
    took = [(row.sent, row.ended - row.sent) for row in history.rows(r.Request) if row.sent and row.ended]
    before = [seconds for sent, seconds in took if sent < fault.started - 0.5]
    under = [seconds for sent, seconds in took if fault.injected < sent < fault.ended - 0.5]
    assert len(under) >= 10
    assert len(before) >= 10
    assert sorted(under)[len(under) // 2] >= 0.3
    assert sorted(before)[len(before) // 2] < 0.3


def test_it_listens_on_loopback_only(journal: Journal) -> None:
    """On this machine's network, under our labels; stopped twice, it is gone."""
    server = ToxiproxyContainer(journal)
    url = server.start()
    control = ToxiproxyControl(url)
    assert control.version().startswith("2.")
    control.close()
    port = int(url.rpartition(":")[2])
    listening = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    [line] = [line for line in listening if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"]
    assert line.split()[1].startswith("0100007F:"), "127.0.0.1 and nothing else"
    assert containers(f"label=chaoskit.run={journal.run_id}", "label=chaoskit.owner") == [server.name]
    server.check()
    server.stop()
    server.stop()
    assert containers(f"name={server.name}") == []


def test_its_death_is_told(journal: Journal) -> None:
    """Killed from outside: the next check says that it died."""
    server = ToxiproxyContainer(journal)
    server.start()
    server.check()
    for command in ("kill", "wait"):
        subprocess.run(["docker", command, server.name], check=True, capture_output=True)
    with pytest.raises(BrokenError, match=f"{server.name} died"):
        server.check()


def test_a_missing_image_says_how_to_get_it(journal: Journal) -> None:
    """Which one, and what to do; nothing is left in the journal."""
    missing = "127.0.0.1:9/chaoskit/no-such-toxiproxy:1"
    with pytest.raises(BrokenError, match=f"docker pull {missing}") as error:
        ToxiproxyContainer(journal, missing).start()
    assert "--chaos-toxiproxy=embedded" in str(error.value)
    assert journal.open_entries() == []


def test_what_a_dead_run_left_is_swept(tmp_path: Path) -> None:
    """The owner is gone, its container is not: the sweep removes it, and leaves somebody else's of a like name."""
    journal = Journal(tmp_path / "dead.journal", run_id=f"dead-{tmp_path.name}")
    server = ToxiproxyContainer(journal)
    server.start()
    theirs = f"{server.name}-theirs"
    subprocess.run(["docker", "create", "--name", theirs, IMAGE], check=True, capture_output=True)
    try:
        # As if its owner had died: the first line names a process that is not there.
        text = journal.path.read_text().splitlines()
        text[0] = text[0].replace('"start": ', '"start": 1')
        journal.path.write_text("\n".join(text) + "\n")
        told = sweep(tmp_path)
        assert any(server.name in line for line in told), told
        assert containers(f"name={server.name}") == [theirs]
        assert not journal.path.exists()
    finally:
        subprocess.run(["docker", "rm", "--force", theirs], check=True, capture_output=True)
        with contextlib.suppress(FileNotFoundError):
            journal.path.unlink()
