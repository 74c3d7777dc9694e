"""The undo journal: written before the change, undone in reverse, swept when its owner is dead."""

from __future__ import annotations

import json
import os
import tempfile
import threading

import pytest

from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.system.journal import Journal
from chaoskit.system.sweep import state_folder, state_folders
from chaoskit.system.undo import KINDS, Kind, lease, register_kind


@pytest.fixture
def journal(tmp_path):
    """A journal of this process."""
    made = Journal(tmp_path / "run" / "a.journal", root=tmp_path)
    yield made
    made.undo_all()
    made.close()


@pytest.fixture
def undone(monkeypatch):
    """The facts undone by the kind ``probe``, in order."""
    seen = []
    monkeypatch.setitem(KINDS, "probe", Kind(lambda facts: seen.append(facts["n"])))
    return seen


def test_an_entry_is_in_the_file_before_the_block_runs(journal, undone):
    """What a kill -9 leaves behind can be read from the file."""
    with journal.entry("probe", n=1):
        lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
        assert lines[0]["pid"] == os.getpid()
        assert lines[1] == {"add": 1, "kind": "probe", "facts": {"n": 1}, "root": str(journal.root)}
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

    monkeypatch.setitem(KINDS, "fails", Kind(fail))
    journal.add("probe", n=1)
    journal.add("fails", name="this")
    journal.add("probe", n=2)
    with pytest.raises(BrokenError, match="fails this: no way"):
        journal.undo_all()
    assert undone == [2, 1]
    assert [kind for kind, _ in journal.open_entries()] == ["fails"]
    monkeypatch.setitem(KINDS, "fails", Kind(lambda facts: None))
    assert journal.undo_all() == ["fails this"]


def test_unknown_kinds_are_refused(journal):
    """A change that could not be undone must not be made."""
    with pytest.raises(ChaosError, match="did you mean 'folder'"):
        journal.add("foldr", path="/nowhere")


def test_a_kind_has_one_way_to_be_undone(monkeypatch):
    """Registering the same function twice is fine, another one is not."""

    def undo(facts):
        return None

    monkeypatch.setitem(KINDS, "mine", Kind(undo))
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


def test_a_lease_is_written_down(journal, undone):
    """Entries of the block carry its end; those before, after, and of lasting kinds carry none."""
    journal.add("probe", n=0)
    with lease(12.5):
        journal.add("probe", n=1)
        journal.add("probe", n=2, until=9.0)
        journal.add("folder", path=journal.root / "nowhere")
    journal.add("probe", n=3)
    journal.undo_all()
    assert undone == [3, 2, 1, 0]
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line.get("until") for line in lines if "add" in line] == [None, 12.5, 9.0, None, None]


def test_the_journal_of_a_run_lies_where_nobody_else_writes(tmp_path, monkeypatch):
    """In the user's state folder; beside the run lies a copy, for people. Both go when all is undone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal.of_run("r7", tmp_path / "run")
    journal.make_folder(tmp_path / "run" / "data")
    copy = tmp_path / "run" / "undo.journal"
    assert journal.path.parent == state_folder() == tmp_path / "state" / "chaoskit" / "journals"
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.read_text().splitlines()[1:] == copy.read_text().splitlines()[1:]
    journal.undo_all()
    journal.close()
    assert not journal.path.exists()
    assert not copy.exists()


def test_a_home_that_cannot_be_written(tmp_path, monkeypatch):
    """A folder of the user's own among the temporary files serves; it is looked into, too."""
    (tmp_path / "home").write_text("")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    journal = Journal.of_run("r7", tmp_path / "run")
    assert journal.path.parent == tmp_path / f"chaoskit-journals-{os.geteuid()}" == state_folders()[-1]
    journal.close()


@pytest.mark.parametrize("state", ["a file", "open to others", "a link"])
def test_no_place_for_a_journal_no_run(tmp_path, monkeypatch, state):
    """What could not be undone is not begun: told with the folder, why, and what to do."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journals = tmp_path / "state" / "chaoskit" / "journals"
    if state == "a file":
        (tmp_path / "state").write_text("")
    elif state == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        journals.parent.mkdir(parents=True)
        journals.symlink_to(tmp_path / "elsewhere")
    else:
        journals.mkdir(parents=True)
        journals.chmod(0o770)
    with pytest.raises(BrokenError, match=r"no place for the undo journal.*state/chaoskit/journals: .*XDG_STATE_HOME"):
        Journal.of_run("r7", tmp_path / "run")


@pytest.mark.parametrize("path", ["../else", "deep/../../else", "link/else", "."])
def test_a_path_elsewhere_is_not_written_down(journal, tmp_path, path):
    """So it is never changed: what could not be undone is not done."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    with pytest.raises(ChaosError, match="does not lie below"):
        journal.add("folder", root=inside, path=inside / path)
    assert journal.open_entries() == []


def test_what_only_this_process_could_undo_is_refused(journal, monkeypatch):
    """A kind that a test, or a conftest.py, registers: nobody would find its code."""
    monkeypatch.setattr("chaoskit.system.undo.KINDS", kinds := dict(KINDS))
    register_kind("here", lambda facts: None)
    assert "here" in kinds
    with pytest.raises(ChaosError, match=f"nobody else could undo 'here': {__name__} registers it.*plugins folder"):
        journal.add("here", name="x")
