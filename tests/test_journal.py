"""The undo journal: written before the change, undone in reverse, swept when its owner is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from chaoskit.errors import BrokenError, ChaosError
from chaoskit.journal import Journal
from chaoskit.sweep import sweep
from chaoskit.undo import KINDS, lease, register_kind

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
