"""The undo journal: written before the change, undone in reverse, swept when its owner is dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chaoskit.errors import BrokenError, ChaosError
from chaoskit.journal import Journal
from chaoskit.pids import family, identify, signal_all
from chaoskit.sweep import state_folder, sweep
from chaoskit.undo import KINDS, Entry, lease, register_kind

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


def test_an_entry_is_in_the_file_before_the_block_runs(journal, undone):
    """What a kill -9 leaves behind can be read from the file."""
    with journal.entry("probe", n=1):
        lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
        assert lines[0]["pid"] == os.getpid()
        assert lines[1] == {"add": 1, "kind": "probe", "facts": {"n": 1}, "in": __name__}
    assert json.loads(journal.path.read_text().splitlines()[-1]) == {"done": 1}
    assert undone == []


def test_a_block_that_raises_leaves_its_entry_open(journal, undone):
    """A failed undo is tried again by undo_all."""
    with pytest.raises(RuntimeError), journal.entry("probe", n=1):
        raise RuntimeError
    assert journal.undo_all() == ["probe"]
    assert undone == [1]


def test_undo_all_goes_backwards_and_only_once(journal, undone):
    """The latest change is undone first; the second call finds nothing."""
    for n in range(3):
        journal.add("probe", n=n)
    journal.undo_all()
    assert journal.undo_all() == []
    assert undone == [2, 1, 0]


def test_one_failure_does_not_keep_the_others_from_being_undone(journal, undone, monkeypatch):
    """All are tried; the error names the one that failed, which stays open."""

    def fail(facts):
        raise OSError("no way")

    monkeypatch.setitem(KINDS, "fails", fail)
    journal.add("probe", n=1)
    journal.add("fails", name="this")
    journal.add("probe", n=2)
    with pytest.raises(BrokenError, match="fails this: no way"):
        journal.undo_all()
    assert undone == [2, 1]
    assert [kind for kind, _ in journal.open_entries()] == ["fails"]
    monkeypatch.setitem(KINDS, "fails", lambda facts: None)
    assert journal.undo_all() == ["fails this"]


def test_unknown_kinds_are_refused(journal):
    """A change that could not be undone must not be made."""
    with pytest.raises(ChaosError, match="did you mean 'folder'"):
        journal.add("foldr", path="/nowhere")


def test_a_kind_has_one_way_to_be_undone(monkeypatch):
    """Registering the same function twice is fine, another one is not."""

    def undo(facts):
        return None

    monkeypatch.setitem(KINDS, "mine", undo)
    register_kind("mine", undo)
    register_kind("mine", undo)
    with pytest.raises(ChaosError, match="two ways"):
        register_kind("mine", lambda facts: None)


def test_made_folders_are_private_and_removed(journal, tmp_path):
    """Mode 0700, and gone with all that is in it."""
    number = journal.make_folder(tmp_path / "deep" / "data")
    assert (tmp_path / "deep" / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "deep" / "data" / "file").write_text("x")
    journal.undo(number)
    assert not (tmp_path / "deep" / "data").exists()


def test_a_folder_that_exists_is_not_ours(journal, tmp_path):
    """It is neither used nor ever removed."""
    (tmp_path / "mine").mkdir()
    with pytest.raises(BrokenError, match="exists already"):
        journal.make_folder(tmp_path / "mine")
    journal.undo_all()
    assert (tmp_path / "mine").exists()


def test_close_removes_a_journal_with_nothing_open(tmp_path, undone):
    """A journal on disk means that something may be left."""
    empty, full = Journal(tmp_path / "empty.journal"), Journal(tmp_path / "full.journal")
    full.add("probe", n=1)
    for journal in (empty, full, full):
        journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["full.journal"]


def test_two_journals_never_share_a_file(journal):
    """The second owner is told."""
    with pytest.raises(BrokenError, match="cannot make the undo journal"):
        Journal(journal.path)


def test_threads_may_write_at_the_same_time(journal, undone):
    """Every line stays whole and every number is given once."""

    def work():
        for n in range(100):
            journal.done(journal.add("probe", n=n))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()[1:]]
    assert sorted(line["add"] for line in lines if "add" in line) == list(range(1, 801))
    assert journal.open_entries() == []


def test_a_forked_child_undoes_nothing_of_its_parent(journal, undone):
    """The journal belongs to the process that made it."""
    journal.add("probe", n=1)
    journal._pid = os.getpid() + 1  # as it looks in a child
    assert journal.undo_all() == []
    assert undone == []
    journal._pid = os.getpid()
    assert journal.undo_all() == ["probe"]


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


# Leases, homes, twins


def test_a_lease_is_written_down(journal, undone):
    """Entries of the block carry its end; those before, after, and of lasting kinds carry none."""
    journal.add("probe", n=0)
    with lease(12.5):
        journal.add("probe", n=1)
        journal.add("probe", n=2, until=9.0)
        journal.add("folder", path="/nowhere")
    journal.add("probe", n=3)
    journal.undo_all()
    assert undone == [3, 2, 1, 0]
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line.get("until") for line in lines if "add" in line] == [None, 12.5, 9.0, None, None]


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


def test_both_copies_say_the_same(tmp_path, monkeypatch):
    """The second lies in the user's state folder, open to nobody else; both go when all is undone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal(tmp_path / "run" / "undo.journal", run_id="r7", twice=True)
    journal.make_folder(tmp_path / "data")
    assert journal.twin is not None
    assert journal.twin.parent == state_folder() == tmp_path / "state" / "chaoskit" / "journals"
    assert journal.twin.parent.stat().st_mode & 0o777 == 0o700
    assert journal.twin.read_text().splitlines()[1:] == journal.path.read_text().splitlines()[1:]
    journal.undo_all()
    journal.close()
    assert not journal.path.exists()
    assert not journal.twin.exists()


def test_no_place_for_a_second_copy(tmp_path, monkeypatch):
    """A home that cannot be written to: the run goes on with one."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    journal = Journal(tmp_path / "run" / "undo.journal", twice=True)
    assert journal.twin is None
    journal.close()


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
        deadline = time.monotonic() + 10
        while len(family(identify(parent.pid))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        members = family(identify(parent.pid))
        signal_all(members, signal.SIGSTOP)
        Entry("signal", {"pid": parent.pid, "start": identify(parent.pid).start}).undo()
        states = [Path(f"/proc/{pid.pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in members]
        assert "T" not in states
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
