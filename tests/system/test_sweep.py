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

from chaoskit.base.clock import wait_for
from chaoskit.engine.session import Session
from chaoskit.system.journal import Journal
from chaoskit.system.pids import Pid, family, identify, signal_all
from chaoskit.system.sweep import sweep
from chaoskit.system.undo import KINDS, Entry, Kind

DEAD_OWNER = """
import sys, pathlib
from chaoskit.system.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]) / "dead.journal", run_id="r1")
journal.make_folder(pathlib.Path(sys.argv[1]) / "data")
"""


@pytest.fixture
def journal(tmp_path):
    """A journal of this process."""
    made = Journal(tmp_path / "a.journal")
    yield made
    made.undo_all()
    made.close()


@pytest.fixture
def undone(monkeypatch):
    """The facts undone by the kind ``probe``, in order."""
    seen = []
    monkeypatch.setitem(KINDS, "probe", Kind(lambda facts: seen.append(facts["n"])))
    return seen


def die_with_a_folder(folder):
    """Another process makes a folder, and dies."""
    folder.mkdir(parents=True, exist_ok=True)
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
    folders = [tmp_path / str(n) for n in range(5)]
    for folder in folders:
        die_with_a_folder(folder)
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.extend(sweep(*folders))) for _ in range(4)]
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


PLUGIN = """
import pathlib
from contextlib import contextmanager
from chaoskit.language.fault import Evidence, Fault
from chaoskit.system.undo import register_kind

def remove(facts): pathlib.Path(facts["name"]).unlink(missing_ok=True)
register_kind("marker", remove)

class Marker(Fault):
    '''A fault of a project's own, with a change that outlives us.'''
    @property
    def target(self): return "nothing"
    @contextmanager
    def inject(self, context): yield Evidence()
"""
INJECTING = """
import os, pathlib, sys
from chaoskit.system.journal import Journal
from chaoskit.language.plugins import registry
project, folder = map(pathlib.Path, sys.argv[1:])
if (project / "plugins" / "faults").is_dir():
    registry("faults").add_folder(project / "plugins" / "faults")
registry("faults").get("marker")
journal = Journal(folder / "dead.journal")
journal.add("marker", name=str(folder / "marker"))
(folder / "marker").touch()
os._exit(9)
"""
SWEEPING = "import pathlib, sys; from chaoskit.system.sweep import sweep; print(sweep(pathlib.Path(sys.argv[1])))"


def python(code, *arguments, path=""):
    """What a fresh process prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def dead(tmp_path):
    """A folder for journals, beside other things of the test."""
    folder = tmp_path / "dead"
    folder.mkdir(mode=0o700)
    return folder


def test_a_fresh_process_learns_a_kind_from_a_projects_plugin(tmp_path, dead):
    """By the plug-in's name, through the plug-in loader: whoever sweeps has loaded nothing."""
    faults = tmp_path / "project" / "plugins" / "faults"
    faults.mkdir(parents=True)
    (faults / "marker.py").write_text(PLUGIN)
    python(INJECTING, tmp_path / "project", dead)
    assert (dead / "marker").exists()
    (entry,) = [json.loads(line) for line in (dead / "dead.journal").read_text().splitlines()[1:]]
    assert entry["plugin"] == {"package": "chaoskit.faults", "name": "marker", "folder": str(faults)}
    assert python(SWEEPING, dead) == f"['marker {dead}/marker of run dead']\n"
    assert list(dead.iterdir()) == []


def test_a_fresh_process_learns_a_kind_from_an_installed_plugin(tmp_path, dead):
    """By its entry point, whatever module of the distribution registers it."""
    site = tmp_path / "site"
    (site / "acme-1.dist-info").mkdir(parents=True)
    (site / "acme-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (site / "acme-1.dist-info" / "entry_points.txt").write_text("[chaoskit.faults]\nmarker = acme.it:Marker\n")
    (site / "acme").mkdir()
    (site / "acme" / "it.py").write_text(PLUGIN)
    python("import acme.it\n" + INJECTING, tmp_path, dead, path=site)
    assert (dead / "marker").exists()
    assert python(SWEEPING, dead, path=site) == f"['marker {dead}/marker of run dead']\n"
    assert list(dead.iterdir()) == []


def test_a_plugin_that_is_gone_is_told_and_its_entry_kept(tmp_path, dead):
    """With where it was, so that somebody can bring it back."""
    faults = tmp_path / "project" / "plugins" / "faults"
    faults.mkdir(parents=True)
    (faults / "marker.py").write_text(PLUGIN)
    python(INJECTING, tmp_path / "project", dead)
    (faults / "marker.py").unlink()
    assert f"the plug-in 'marker' of {faults}, which knows how to undo it, cannot be loaded" in python(SWEEPING, dead)
    assert (dead / "marker").exists()
    assert (dead / "dead.journal").exists()


@pytest.mark.parametrize("home", [{"in": "payload"}, {"in": "{}/payload.py"}, {"plugin": {"package": "payload"}}])
def test_no_code_is_run_that_a_journal_names(tmp_path, dead, home):
    """Neither by a file's path nor as a module: even our own journal cannot make us do more than undo."""
    (tmp_path / "payload.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    die_with_a_folder(dead)
    if "plugin" in home:
        home = {"plugin": {"package": "payload", "name": "payload", "folder": str(tmp_path)}}
    else:
        home = {"in": home["in"].format(tmp_path)}
    with (dead / "dead.journal").open("a") as file:
        file.write(
            json.dumps({"add": 2, "kind": "volcano", "facts": {"name": "etna"}, "root": str(dead), **home}) + "\n"
        )
    assert "volcano etna of run r1: could not be undone" in python(SWEEPING, dead, path=tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("way", ["up", "link", "no root", "root is a link"])
def test_what_lies_elsewhere_is_not_removed(tmp_path, dead, way):
    """A path that leaves its root, also by a link that was put there after the change was written down."""
    victim = tmp_path / "victim"
    (victim / "data").mkdir(parents=True)
    root = dead / "root"
    root.mkdir()
    path = {"up": root / ".." / ".." / "victim" / "data", "link": root / "link" / "data"}.get(way, victim / "data")
    (root / "link").symlink_to(victim)
    if way == "root is a link":
        root = dead / "root" / "link"
        path = root / "data"
    die_with_a_folder(dead)
    entry = {"add": 2, "kind": "folder", "facts": {"path": str(path)}, "root": "" if way == "no root" else str(root)}
    with (dead / "dead.journal").open("a") as file:
        file.write(json.dumps(entry) + "\n")
    told = sweep(dead)
    assert "could not be undone" in told[0]
    assert "does not lie below" in told[0]
    assert (victim / "data").exists()
    assert not (dead / "data").exists(), "what else the journal says is done"


def test_a_folder_that_others_can_write_to_is_not_looked_into(tmp_path, dead):
    """Anybody may have put a journal there: told, and not believed."""
    die_with_a_folder(dead)
    dead.chmod(0o777)
    (told,) = sweep(dead)
    assert told == f"{dead}: not looked into: others may write to it; look at what is in it, then remove it"
    assert (dead / "data").exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_not_a_file_is_no_journal(tmp_path, dead, kind):
    """A link to one, a pipe nobody writes to: passed over at once."""
    die_with_a_folder(tmp_path)
    if kind == "link":
        (dead / "a.journal").symlink_to(tmp_path / "dead.journal")
    else:
        os.mkfifo(dead / "a.journal")
    assert sweep(dead) == []
    assert (tmp_path / "data").exists()


def test_lines_that_say_nothing_are_passed_over(dead):
    """What a later version, or nobody, wrote."""
    die_with_a_folder(dead)
    with (dead / "dead.journal").open("a") as file:
        file.write('[]\n7\n{"add": 3}\n{"add": [1], "kind": "x", "facts": {}}\n{"note": 1}\n{"odd": 1}\n')
    assert sweep(dead) == [f"folder {dead / 'data'} of run r1"]


ODD = [None, True, 1.5, 10**300, "x", [], [1], {}, {"a": []}]


@pytest.mark.parametrize("key", ["pid", "start", "boot", "space", "run", "copy", "root"])
def test_an_odd_owner(dead, key):
    """A journal of nobody whom this version knows is left alone, or that of somebody who is dead is undone."""
    for odd in ODD:
        owner = {"pid": 999_999, "start": 1, "boot": "x", "run": "r", "copy": "", "root": "", key: odd}
        (dead / "a.journal").write_text(json.dumps(owner) + "\n")
        told = sweep(dead)
        assert told == [] or "left alone" in told[0]


@pytest.mark.parametrize("key", ["add", "kind", "facts", "root", "until", "in", "plugin", "note", "prolong", "done"])
def test_odd_entries(dead, key):
    """They are passed over or told, and what else is in the journal is undone."""
    for odd in ODD:
        die_with_a_folder(dead)
        entry = {"kind": "signal", "facts": {"pid": 999_999, "start": 1}}
        number = {} if key in ("note", "prolong", "done") else {"add": 9}
        with (dead / "dead.journal").open("a") as file:
            file.write(json.dumps({**number, **entry, "until": odd, key: odd}) + "\n" + "[" * 100_000 + "\n")
        assert f"folder {dead / 'data'} of run r1" in sweep(dead)
        (dead / "dead.journal").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("pid", "start"), [("1", 1), (1, "1"), (True, 1), (1, None), (0, 1), (-1, 1), (1 << 31, 1), ("../x", 1), (1.0, 1)]
)
def test_a_pid_is_a_number(pid, start):
    """It becomes part of a path, and whom a signal is sent to."""
    with pytest.raises(ValueError, match="no process"):
        Pid(pid, start)


def test_what_lies_in_reports_is_never_acted_on(tmp_path, undone, monkeypatch):
    """A journal there is a copy, for people: neither the sweep nor a run's beginning looks at it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    die_with_a_folder(runs := tmp_path / "reports" / "runs" / "x")
    (runs / "dead.journal").rename(runs / "undo.journal")
    assert sweep() == []
    session = Session(tmp_path / "reports")
    try:
        assert session.swept == []
    finally:
        session.close()
    assert (runs / "data").exists()
    assert (runs / "undo.journal").exists()


def test_the_copy_goes_with_its_journal(tmp_path, undone, monkeypatch):
    """Swept: the change is undone once, and people no longer find a journal of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal.of_run("r7", tmp_path / "run")
    journal.add("probe", n=7)
    disown(journal.path, start=1)
    assert sweep() == ["probe of run r7"]
    assert undone == [7]
    assert not journal.path.exists()
    assert not (tmp_path / "run" / "undo.journal").exists()


def test_a_copy_elsewhere_stays(tmp_path, undone):
    """Its folder is a link now: nothing is removed through it."""
    journal = Journal(tmp_path / "a.journal", root=tmp_path / "run", copy=tmp_path / "run" / "undo.journal")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").symlink_to(tmp_path / "moved")
    disown(journal.path, start=1)
    assert sweep(tmp_path) == []
    assert not journal.path.exists()
    assert (tmp_path / "moved" / "undo.journal").exists()


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
