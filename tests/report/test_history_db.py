"""The history of runs: kept, found again, bounded, migrated, and safe with many writers."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from recordings import made

from chaoskit.base.errors import ChaosError
from chaoskit.trend.history_db import Database, Revision, find_revision, folders, select, selected
from chaoskit.trend.history_db.schema import MIGRATIONS, VERSION

NOWHERE = Revision()


def started(minute: int) -> str:
    """A start, ``minute`` minutes after ten."""
    return f"2026-01-01T10:{minute:02}:00+0000"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the history will be."""
    return tmp_path / "reports" / "history.db"


def test_a_run_comes_back_as_it_was_kept(file):
    """Entry and scenarios: all but the rows behind findings and the evidence of faults."""
    finding = {
        "id": "during.ask.p95", "outcome": "violated", "expected": "< 1s", "seen": "2s", "samples": 30, "line": 4,
        "worst": "worst second", "rows": ["a", "b"], "path": ["expect"],
    }  # fmt: skip
    fault = {
        "name": "slow",
        "kind": "latency",
        "target": "db",
        "touched": 3,
        "unit": "connections",
        "evidence": {"a": 1},
    }
    bad = made("bad", "violated", findings=[finding], faults=[fault], severity="critical", tags=["a"], seed=5)
    skipped = made("not-here", "skipped")
    with Database(file) as database:
        database.record("1", [made(), bad, skipped], Revision("abc", "main", "http://ci/1"))
    with Database(file) as database:
        (entry,) = database.runs()
        back = {each.name: each for each in database.scenarios("1")}
    assert (entry.id, entry.revision, entry.gate) == ("1", Revision("abc", "main", "http://ci/1"), "")
    assert entry.counts == {"held": 1, "violated": 1, "skipped": 1}
    assert entry.score == pytest.approx(100 * 4 / 12)
    assert (entry.wall, entry.passed) == (5.0, False)
    assert entry.folders == [Path("reports/runs/1")]
    assert back["made-up"] == made(folder=file.parent / "runs" / "1" / "made-up"), "wherever the reports were then"
    assert back["not-here"].skipped
    assert back["bad"].operations == bad.operations
    assert back["bad"].seed == 5
    assert back["bad"].findings == ({key: finding[key] for key in finding if key not in ("worst", "rows", "path")},)
    assert back["bad"].faults == ({key: fault[key] for key in fault if key != "evidence"},)


def test_the_same_run_again_takes_the_place_of_the_first(file):
    """Recording is idempotent."""
    with Database(file) as database:
        database.record("1", [made("a"), made("b", "violated")], NOWHERE)
        database.record("1", [made("a")], NOWHERE)
        assert [entry.counts for entry in database.runs()] == [{"held": 1}]
        assert [each.name for each in database.scenarios("1")] == ["a"]


def test_only_the_newest_are_kept(file):
    """By their start, not by when they were written; scenarios go with their run."""
    with Database(file) as database:
        for minute in (3, 1, 4, 2, 5):
            database.record(str(minute), [made(started=started(minute))], NOWHERE, keep=3)
        assert [entry.id for entry in database.runs()] == ["5", "4", "3"]
        assert [entry.id for entry in database.runs(2)] == ["5", "4"]
        assert database.scenarios("1") == []
    with sqlite3.connect(file) as raw:
        assert raw.execute("SELECT count(*) FROM scenarios").fetchone() == (3,)
    raw.close()


def test_what_may_be_a_baseline(file):
    """The gate's word, and without one a run of which nothing failed."""
    with Database(file) as database:
        database.record("good", [made(), made("skipped", "skipped")], NOWHERE)
        database.record("bad", [made("x", "vacuous")], NOWHERE)
        database.record("let-through", [made("x", "violated")], NOWHERE)
        database.record("stopped", [made()], NOWHERE)
        database.record("empty", [made("x", "skipped")], NOWHERE)
        database.set_gate("let-through", "passed")
        database.set_gate("stopped", "blocked")
        assert {entry.id for entry in database.runs() if entry.passed} == {"good", "let-through"}


def test_trend(file):
    """Oldest first; a run without a score is left out."""
    with Database(file) as database:
        assert database.trend() == []
        database.record("1", [made("x", started=started(1))], NOWHERE)
        database.record("2", [made("x", "skipped", started=started(2))], NOWHERE)
        database.record("3", [made("x", "broken", started=started(3))], NOWHERE)
        assert database.trend() == [("1", 100.0), ("3", 0.0)]
        assert database.trend(1) == [("3", 0.0)]


def test_a_trend_is_of_the_same_scenarios(file):
    """Those of the newest run: one that was not run counts as it last was; a run of others only is left out."""

    def record(minute: int, *recorded) -> None:
        database.record(str(minute), [replace(each, started=started(minute)) for each in recorded], NOWHERE)

    with Database(file) as database:
        record(1, made("a"), made("b"))
        record(2, made("a", "violated"))
        record(3, made("other", "violated"))
        record(4, made("b", "violated"))
        record(5, made("a"), made("b"), made("b--control", "not caught", control=True))
        assert database.trend() == [("1", 100.0), ("2", 50.0), ("4", 0.0), ("5", 50.0)]
        record(6, made("a", "vacuous"))
        assert database.trend() == [("1", 100.0), ("2", 0.0), ("5", 100.0), ("6", 0.0)]


def test_words_for_runs(file):
    """latest, previous, an id, the start of one; a mistake is told with what was meant."""
    with Database(file) as database:
        with pytest.raises(ChaosError, match=r"no run in .* yet"):
            select(database, "latest")
        database.record("20260101-1", [made(started=started(1))], NOWHERE)
        with pytest.raises(ChaosError, match="no previous run"):
            select(database, "previous")
        database.record("20260102-2", [made(started=started(2))], NOWHERE)
        words = {"latest": "20260102-2", "previous": "20260101-1", "20260101-1": "20260101-1", "20260102": "20260102-2"}
        assert {word: select(database, word).id for word in words} == words
        with pytest.raises(ChaosError, match="'2026' may be any of 20260102-2, 20260101-1"):
            select(database, "2026")
        with pytest.raises(ChaosError, match=r"unknown run 'latets'; legal: .* did you mean 'latest'\?"):
            select(database, "latets")
    assert selected(file, "latest").entry is not None
    with pytest.raises(ChaosError, match="holds no recorded scenario"):
        selected(file, str(file.parent))
    with pytest.raises(ChaosError, match=r"no history: .*nosuch"):
        selected(file.parent / "nosuch", "latest")


def test_where_the_recordings_of_a_run_are(file, tmp_path):
    """By every word for a run; below the history where they were moved; gone ones are told."""
    runs = file.parent / "runs"
    with Database(file) as database:
        database.record("20260101-1", [made(started=started(1))], NOWHERE)  # made() lies in reports/runs/1
    (runs / "20260102-9").mkdir(parents=True)
    assert folders(file, "20260102-9") == [runs / "20260102-9"]
    with pytest.raises(ChaosError, match="the recordings of run 20260101-1 are gone"):
        folders(file, "latest")
    (runs / "1").mkdir()
    assert [folders(file, word) for word in ("latest", "20260101-1", "2026", str(runs / "1"))] == [[runs / "1"]] * 4
    with pytest.raises(ChaosError, match=r"unknown run '20260103'; legal: latest, previous"):
        folders(file, "20260103")
    with pytest.raises(ChaosError, match=r"no history: .*nosuch.db does not exist .*, and 'x' is no folder"):
        folders(tmp_path / "nosuch.db", "x")


def make_old(file: Path, version: int) -> None:
    """A file as an earlier version of the schema left it, with a run in it."""
    file.parent.mkdir(parents=True)
    raw = sqlite3.connect(file, isolation_level=None)
    for step in MIGRATIONS[:version]:
        for statement in step:
            raw.execute(statement)
    raw.execute(f"PRAGMA user_version = {version}")
    data = json.dumps(made().as_dict())
    raw.execute(
        "INSERT INTO runs (id, started, wall, score, revision, branch, folders)"
        " VALUES ('old', 1, 2, 100, 'c', 'b', '[]')"
    )
    raw.execute("INSERT INTO scenarios VALUES ('old', 'k', 0, 'normal', 'held', 1.0, ?)", (data,))
    raw.close()


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_migration(file, version):
    """What an older version wrote is still there, and new runs go in beside it."""
    make_old(file, version)
    with Database(file) as database:
        (old,) = database.runs()
        assert (old.id, old.score, old.gate, old.revision) == ("old", 100, "", Revision("c", "b", ""))
        assert database.scenarios("old") == [made(folder=file.parent / "runs" / "1" / "made-up")]
        database.record("new", [made()], NOWHERE)
        database.set_gate("new", "passed")
    with Database(file) as database:
        assert [(entry.id, entry.gate) for entry in database.runs()] == [("new", "passed"), ("old", "")]
    raw = sqlite3.connect(file)
    assert raw.execute("PRAGMA user_version").fetchone() == (VERSION,)
    raw.close()


def test_a_migration_that_fails_changes_nothing(file, monkeypatch):
    """All or nothing, so that it can be tried again."""
    from chaoskit.trend.history_db import schema

    make_old(file, 1)
    before = file.read_bytes()
    monkeypatch.setattr(schema, "MIGRATIONS", (MIGRATIONS[0], (*MIGRATIONS[1], "ALTER TABLE nosuch ADD COLUMN a")))
    with pytest.raises(ChaosError, match="nosuch"):
        Database(file)
    assert file.read_bytes() == before


def test_a_file_of_a_newer_version(file):
    """It is left alone, and the message says what to do."""
    make_old(file, VERSION)
    with sqlite3.connect(file) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    raw.close()
    with pytest.raises(ChaosError, match=r"newer chaoskit .* upgrade chaoskit"):
        Database(file)


def test_files_that_are_no_history(file, tmp_path):
    """One sentence each."""
    file.parent.mkdir()
    file.write_bytes(b"not a database, and long enough to look at" * 50)
    with pytest.raises(ChaosError, match=r"history\.db: file is not a database"):
        Database(file)
    (tmp_path / "plain").write_text("")
    with pytest.raises(ChaosError, match="cannot be opened"):
        Database(tmp_path / "plain" / "history.db")


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from recordings import made
from chaoskit.trend.history_db import Database, Revision
for number in range(int(sys.argv[4])):
    with Database(Path(sys.argv[1])) as database:
        database.record(f"{sys.argv[2]}-{number}", [made(f"s-{index}") for index in range(20)], Revision())
"""


def test_many_processes_write_at_once(file):
    """From an empty file: every run of every process is there, whole, and the file is one file and sound."""
    writers, each = 6, 8
    command = [sys.executable, "-c", WRITER, str(file)]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(Path(__file__).parent), str(each)], stderr=subprocess.PIPE, text=True
        )
        for number in range(writers)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == [""] * writers
    with Database(file) as database:
        runs = database.runs()
        assert {entry.id for entry in runs} == {f"{w}-{n}" for w in range(writers) for n in range(each)}
        assert {tuple(entry.counts.items()) for entry in runs} == {(("held", 20),)}
    with sqlite3.connect(file) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    assert [path.name for path in file.parent.iterdir()] == ["history.db"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GITHUB_SHA": "a1", "GITHUB_REF_NAME": "main"}, Revision("a1", "main", "")),
        (
            {
                "GITHUB_SHA": "a1", "GITHUB_REF_NAME": "x", "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7",
            },
            Revision("a1", "x", "https://github.com/o/r/actions/runs/7"),
        ),
        (
            {"CI_COMMIT_SHA": "b2", "CI_COMMIT_REF_NAME": "topic", "CI_JOB_URL": "https://gitlab/1"},
            Revision("b2", "topic", "https://gitlab/1"),
        ),
    ],
)  # fmt: skip
def test_the_revision_in_ci(tmp_path, environ, expected):
    """From the variables of the CI system."""
    assert find_revision(tmp_path, environ) == expected


def git(folder: Path, *words: str) -> str:
    """Git with a name, away from the user's settings."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def test_the_revision_of_a_working_copy(tmp_path):
    """From .git: a branch, packed refs, a detached head, a worktree; nothing outside of one."""
    assert find_revision(tmp_path, {}) == Revision()
    repository = tmp_path / "repository"
    (repository / "below").mkdir(parents=True)
    git(repository, "init", "-q", "-b", "main")
    assert find_revision(repository, {}) == Revision("", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "one")
    commit = git(repository, "rev-parse", "HEAD")
    assert find_revision(repository / "below", {}) == Revision(commit, "main")
    git(repository, "pack-refs", "--all")
    assert find_revision(repository, {}) == Revision(commit, "main")
    git(repository, "worktree", "add", "-q", "-b", "topic/a", str(tmp_path / "other"))
    assert find_revision(tmp_path / "other", {}) == Revision(commit, "topic/a")
    git(repository, "checkout", "-q", "--detach")
    assert find_revision(repository, {}) == Revision(commit, "")
    (repository / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert find_revision(repository, {}) == Revision()


@pytest.mark.parametrize("what", ["pipe", "loop", "endless"])
def test_a_working_copy_that_is_none(tmp_path, what):
    """Its commit is not known; nothing waits for a pipe that nobody writes to."""
    (tmp_path / ".git").mkdir()
    head = tmp_path / ".git" / "HEAD"
    if what == "pipe":
        os.mkfifo(head)
    else:
        head.symlink_to("/dev/zero" if what == "endless" else "HEAD")
    assert find_revision(tmp_path, {}) == Revision()
