"""The sweep: what dead owners left is undone, once, by whoever comes; what is not theirs is not touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chaoskit.clock import wait_for
from chaoskit.journal import Journal
from chaoskit.pids import family, identify, signal_all
from chaoskit.sweep import state_folder, sweep
from chaoskit.undo import KINDS, Entry

DEAD_OWNER = """
import sys, pathlib
from chaoskit.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]) / "dead.journal", run_id="r1")
journal.make_folder(pathlib.Path(sys.argv[1]) / "data")
"""


@pytest.fixture
def journal(tmp_path):
    """A journal of this process."""
    made = Journal(tmp_path / "run" / "a.journal")
    yield made
    made.undo_all()
    made.close()


@pytest.fixture
def undone(monkeypatch):
    """The facts undone by the kind ``probe``, in order."""
    seen = []
    monkeypatch.setitem(KINDS, "probe", lambda facts: seen.append(facts["n"]))
    return seen


def die_with_a_folder(folder):
    """Another process makes a folder, and dies."""
    subprocess.run([sys.executable, "-c", DEAD_OWNER, str(folder)], check=True)


def test_sweep_undoes_what_a_dead_owner_left(tmp_path):
    """The folder goes, the journal too, and the run is named."""
    die_with_a_folder(tmp_path)
    assert (tmp_path / "data").exists()
    assert sweep(tmp_path) == [f"folder {tmp_path / 'data'} of run r1"]
    assert list(tmp_path.iterdir()) == []
    assert sweep(tmp_path) == []


def test_sweep_leaves_a_living_owner_alone(journal, tmp_path):
    """Our own journal is one of a living run."""
    journal.make_folder(tmp_path / "data")
    before = journal.path.read_text()
    assert sweep(tmp_path) == []
    assert (tmp_path / "data").exists()
    assert journal.path.read_text() == before


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}])
def test_a_reused_pid_does_not_keep_a_journal_alive(tmp_path, undone, change):
    """The owner is meant by pid, start time and boot."""
    Journal(tmp_path / "a.journal").add("probe", n=7)
    first, rest = (tmp_path / "a.journal").read_text().split("\n", 1)
    (tmp_path / "a.journal").write_text(json.dumps({**json.loads(first), **change}) + "\n" + rest)
    assert sweep(tmp_path) == ["probe of run a"]
    assert undone == [7]


def test_a_line_cut_short_was_never_acted_on(tmp_path):
    """The owner died while it wrote; what stands before counts."""
    die_with_a_folder(tmp_path)
    with (tmp_path / "dead.journal").open("a") as file:
        file.write('{"add":2,"kind":"fol')
    assert len(sweep(tmp_path)) == 1
    assert not (tmp_path / "data").exists()


def test_what_cannot_be_undone_is_told_and_kept(tmp_path):
    """A journal of a later version, with a kind we do not know, stays for it."""
    die_with_a_folder(tmp_path)
    with (tmp_path / "dead.journal").open("a") as file:
        file.write('{"add":2,"kind":"volcano","facts":{"name":"etna"}}\n')
    told = sweep(tmp_path)
    assert "volcano etna of run r1: could not be undone: unknown kind" in told[0]
    assert told[1].startswith("folder")
    assert len(sweep(tmp_path)) == 1  # what was undone is not undone again


def test_two_sweeps_do_not_meet(tmp_path):
    """Each entry is undone by one of them."""
    for n in range(5):
        (tmp_path / str(n)).mkdir()
        die_with_a_folder(tmp_path / str(n))
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.extend(sweep(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == len(set(told)) == 5


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    """It may be someone's own."""
    (tmp_path / "my.journal").write_text('{"dear": "diary"}\n')
    assert sweep(tmp_path) == [f"{tmp_path / 'my.journal'}: not a journal of this version, left alone"]
    assert (tmp_path / "my.journal").exists()


def test_a_fresh_process_learns_kinds_from_the_entry(tmp_path):
    """The sweeping process has imported nothing: a module by name, and a script, teach it what they know."""
    module = tmp_path / "their_fault.py"
    module.write_text(
        "import pathlib\nfrom chaoskit.undo import register_kind\n"
        "def remove(facts): pathlib.Path(facts['name']).unlink(missing_ok=True)\n"
        "register_kind('marker', remove)\n"
    )
    script = tmp_path / "owner.py"
    script.write_text(
        "import pathlib, sys\nfrom chaoskit.undo import register_kind\n"
        "def remove(facts): pathlib.Path(facts['name']).unlink(missing_ok=True)\n"
        "register_kind('own', remove)\n"
        "if __name__ == '__main__':\n"
        "    import their_fault\n"
        "    from chaoskit.journal import Journal\n"
        "    folder = pathlib.Path(sys.argv[1])\n"
        "    journal = Journal(folder / 'dead.journal')\n"
        "    for kind in ('marker', 'own'):\n"
        "        journal.add(kind, name=str(folder / kind))\n"
        "        (folder / kind).touch()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, str(script), str(tmp_path)], env=environ, check=True)
    assert (tmp_path / "marker").exists()
    assert (tmp_path / "own").exists()
    sweeping = "import pathlib, sys; from chaoskit.sweep import sweep; print(sweep(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", sweeping, str(tmp_path)], env=environ, check=True, capture_output=True, text=True
    )
    assert "could not" not in done.stdout
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "own").exists()


def test_one_sweep_does_not_do_it_twice(tmp_path, undone, monkeypatch):
    """Copies in both folders, one dead owner: each change is undone once."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal(tmp_path / "run" / "undo.journal", run_id="r7", twice=True)
    journal.add("probe", n=7)
    for path in (journal.path, journal.twin):
        disown(path, start=1)
    assert sweep(tmp_path / "run", state_folder()) == ["probe of run r7"]
    assert undone == [7]
    assert not journal.path.exists()
    assert not journal.twin.exists()


def disown(path, **change):
    """Rewrite the owner's line."""
    first, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(first), **change}) + "\n" + rest)


def test_a_run_of_another_container_is_left_alone(tmp_path, undone):
    """Its pids mean nothing here: told, and not touched."""
    Journal(tmp_path / "a.journal").add("probe", n=7)
    disown(tmp_path / "a.journal", space="elsewhere pid:[1]", start=1)
    (told,) = sweep(tmp_path)
    assert "left alone: its run belongs to another machine or container" in told
    assert undone == []
    assert (tmp_path / "a.journal").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_journal_of_another_user_is_not_followed(tmp_path, undone):
    """Root may write to it, and still does not do what somebody else wrote down."""
    Journal(tmp_path / "a.journal").add("probe", n=7)
    disown(tmp_path / "a.journal", start=1)
    os.chown(tmp_path / "a.journal", 65534, 65534)
    assert sweep(tmp_path) == []
    assert undone == []


def test_a_stopped_family_goes_on(tmp_path):
    """A pause is undone for the descendants too."""
    parent = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    try:
        wait_for(lambda: len(family(identify(parent.pid))) >= 2, what="the child", limit=10)
        members = family(identify(parent.pid))
        signal_all(members, signal.SIGSTOP)
        Entry("signal", {"pid": parent.pid, "start": identify(parent.pid).start}).undo()
        states = [Path(f"/proc/{pid.pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in members]
        assert "T" not in states
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
