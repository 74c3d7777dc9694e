"""``chaoskit gate``, ``history`` and ``compare`` on recorded runs and on the history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chaoskit.report.runs import read_run
from chaoskit.trend.history_db import Database, Revision

Chaoskit = Callable[..., Any]
Record = Callable[..., Path]


@pytest.fixture
def runs(record: Record, tmp_path: Path) -> Callable[..., Path]:
    """Makes recorded runs and keeps them in reports/history.db; the scenarios' latencies under the fault by name."""
    count = 0

    def make(gate: str = "", **latencies: float) -> Path:
        nonlocal count
        count += 1
        for name, latency in latencies.items():
            record(
                name, latency=latency, started=f"2026-01-0{count}T10:00:00+0000", nodeid=f"a.chaos.yaml::{name}",
                reproduce=f"pytest --chaos a.chaos.yaml::{name}", severity="critical",
            )  # fmt: skip
        folder = tmp_path / "reports" / "runs" / f"2026010{count}-7"
        (tmp_path / "reports" / "runs" / "1").rename(folder)
        with Database(tmp_path / "reports" / "history.db") as database:
            database.record(folder.name, read_run(folder), Revision(f"{count}" * 40, "main"))
            if gate:
                database.set_gate(folder.name, gate)
        return folder

    return make


def test_the_latest_run_passes(chaoskit: Chaoskit, runs: Any, tmp_path: Path) -> None:
    """0; three files are written, and the answer is in the history."""
    runs(ask=0.01)
    answer = chaoskit("gate")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("gate: PASSED   score 100   1 held\n")
    assert "note: no earlier run that passed" in answer.out
    for name in ("gate.md", "gate.json", "gate.xml"):
        assert (tmp_path / "reports" / name).exists()
    (row,) = json.loads(chaoskit("history", "--json").out)
    assert row["gate"] == "passed"


def test_an_earlier_run_leaves_the_newest_ones_files(chaoskit: Chaoskit, runs: Any, tmp_path: Path) -> None:
    """By any of its names it is told and not written, unless a folder is named."""
    first = runs(ask=0.01, slow=0.6)
    runs(ask=0.01)
    assert "written: reports/gate.md" in chaoskit("gate").out
    before = (tmp_path / "reports" / "gate.json").read_text(encoding="utf-8")
    for word in ("previous", first.name, first):
        answer = chaoskit("gate", word)
        assert answer.status == 1
        assert "not written: reports/gate.* are of the newest run, 20260102-7; --output DIR writes these" in answer.out
    assert (tmp_path / "reports" / "gate.json").read_text(encoding="utf-8") == before
    assert "written: old/gate.md" in chaoskit("gate", "previous", "--output", "old").out
    assert json.loads(Path("old/gate.json").read_text(encoding="utf-8"))["run"] == first.name


def test_a_violated_run_is_blocked(chaoskit: Chaoskit, runs: Any) -> None:
    """1, with what blocks; and the JSON satisfies what ``chaoskit schema gate`` prints."""
    runs(ask=0.01, slow=0.6)
    answer = chaoskit("gate", "--output", "out")
    assert answer.status == 1
    assert "blocks: slow (critical) is violated: during.ask.p95: expected < 500ms, seen 600ms" in answer.out
    assert "blocks: the score is 50, at least 80 is asked for" in answer.out
    schema = json.loads(chaoskit("schema", "gate").out)
    jsonschema.validate(json.loads(Path("out/gate.json").read_text(encoding="utf-8")), schema)
    assert "    pytest --chaos a.chaos.yaml::slow" in Path("out/gate.md").read_text(encoding="utf-8")


def test_flags_come_before_pyproject(chaoskit: Chaoskit, runs: Any, tmp_path: Path) -> None:
    """Settings of the project, of a file, and of the command line."""
    runs(ask=0.01, slow=0.6)
    (tmp_path / "pyproject.toml").write_text("[tool.chaoskit.gate]\nblock = []\nmin_score = 50\n")
    assert chaoskit("gate").status == 0
    assert chaoskit("gate", "--min-score", "51").status == 1
    (tmp_path / "strict.yaml").write_text("block: [critical]\nmin_score: 0\n")
    assert chaoskit("gate", "--settings", "strict.yaml").status == 1
    assert chaoskit("gate", "--settings", "strict.yaml", "--block", "none").status == 0


def test_a_regression(chaoskit: Chaoskit, runs: Any) -> None:
    """A p99 that held its bound but doubled; it can be allowed."""
    for _ in range(3):
        runs(ask=0.05)
    runs(ask=0.45)
    answer = chaoskit("gate", "--p99", "100%")
    assert answer.status == 1
    assert "p99 of ask under the faults is 450ms; it was 50ms, allowed is 100ms (100%)" in answer.out
    assert chaoskit("gate", "--p99", "100% + 1s").status == 0
    assert chaoskit("gate", "--p99", "100%", "--baseline", "off").status == 0


def test_a_run_that_is_not_in_the_history(chaoskit: Chaoskit, record: Record) -> None:
    """A folder can be asked about; several make one run."""
    record("a")
    first = record("b").parent.rename(Path("one"))
    second = record("c", latency=0.6).parent.rename(Path("two"))
    assert chaoskit("gate", first).out.startswith("gate: PASSED   score 100   2 held")
    answer = chaoskit("gate", first, second)
    assert answer.status == 1
    assert "score 66.6   2 held, 1 violated" in answer.out


def test_nothing_to_judge(chaoskit: Chaoskit, tmp_path: Path) -> None:
    """3 for a run of which everything was skipped."""
    from chaoskit.report.runs import Recorded

    skipped = Recorded(folder=None, scenario="a", slug="a", outcome="skipped", reason="no netem")
    with Database(tmp_path / "reports" / "history.db") as database:
        database.record("1", [skipped], Revision())
    answer = chaoskit("gate")
    assert answer.status == 3
    assert answer.out.startswith("gate: NOTHING TO JUDGE")
    assert "skipped, does not count: a: no netem" in answer.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["latets"], "unknown run 'latets'; legal: latest, previous, a run's folder, or an id"),
        (["--min-score", "lots"], "gate: min_score: a number is expected, found 'lots'"),
        (["--block", "critcal"], "did you mean 'critical'?"),
        (["--settings", "nosuch.yaml"], "nosuch.yaml: No such file"),
        (["--baseline", "median of many"], "'median of many' is no baseline; legal: median of 5, previous, off"),
        (["--reports", "elsewhere"], "no history: elsewhere/history.db does not exist"),
        (["--minscore", "3"], "unrecognized arguments: --minscore"),
    ],
)
def test_bad_input(chaoskit: Chaoskit, runs: Any, words: list[str], told: str) -> None:
    """2, and one sentence."""
    runs(ask=0.01)
    answer = chaoskit("gate", *words)
    assert answer.status == 2
    assert told in answer.err


def test_history(chaoskit: Chaoskit, runs: Any) -> None:
    """Newest first, with score, gate, outcomes and commit; as JSON too."""
    runs(ask=0.01)
    runs("blocked", ask=0.01, slow=0.6)
    answer = chaoskit("history")
    head, new, old = answer.out.splitlines()
    assert head.split() == ["run", "started", "score", "gate", "held", "violated", "commit", "branch"]
    assert new.startswith("20260102-7")
    assert new.split()[-6:] == ["50", "blocked", "1", "1", "2222222222", "main"]
    assert old.split()[-6:] == ["100", "-", "1", "0", "1111111111", "main"]
    assert chaoskit("history", "--limit", "1").out.splitlines() == [head, new]
    rows = json.loads(chaoskit("history", "--json").out)
    assert [(row["id"], row["score"], row["outcomes"]["violated"]) for row in rows] == [
        ("20260102-7", 50.0, 1),
        ("20260101-7", 100.0, 0),
    ]


def test_history_of_one_scenario(chaoskit: Chaoskit, runs: Any) -> None:
    """Outcome, recovery and figures in each run; a name that no run has is told."""
    runs(ask=0.01)
    runs(ask=0.6)
    lines = chaoskit("history", "--scenario", "ask").out.splitlines()
    assert lines[1].split()[:2] == ["20260102-7", "violated"]
    assert "ask 100% p99 600ms" in lines[1]
    assert lines[2].split()[:2] == ["20260101-7", "held"]
    answer = chaoskit("history", "--scenario", "aks")
    assert (answer.status, answer.err) == (2, "unknown scenario 'aks'; legal: ask; did you mean 'ask'?\n")


def test_history_needs_one(chaoskit: Chaoskit) -> None:
    """2 where there is none, or where the limit is no number; no file is made."""
    answer = chaoskit("history")
    assert (answer.status, answer.err.partition(" (")[0]) == (2, "no history: reports/history.db does not exist")
    assert not Path("reports").exists()
    assert "'0' is not a number of runs" in chaoskit("history", "--limit", "0").err


def test_compare_tells_why_a_run_was_broken(chaoskit: Chaoskit, record: Record) -> None:
    """The first line and the cause, each on a line of its own."""
    before = record("ask").parent.rename(Path("one"))
    record("ask", broken="orders was not ready within 20 s\n  Its last lines:\n  Traceback\n  KeyError: 'DB'")
    answer = chaoskit("compare", before, "reports/runs/1")
    assert "\n    orders was not ready within 20 s\n      … KeyError: 'DB'\n" in answer.out


def test_compare(chaoskit: Chaoskit, runs: Any) -> None:
    """By word, by id and by folder: the same; as text, as JSON, as a figure, with a business limit."""
    first = runs(ask=0.4)
    runs(ask=0.02)
    answer = chaoskit("compare", "previous", "latest", "--over", "ask=200ms", "--figure", "out/change.svg")
    assert answer.status == 0
    assert "before  20260101-7   score 100\nafter   20260102-7   score 100" in answer.out
    assert "+ ask p99" in answer.out
    assert "(-95%)" in answer.out
    assert "+ ask over 200ms" in answer.out
    assert "(-100 points)" in answer.out
    assert "20260101-7  →  20260102-7" in Path("out/change.svg").read_text(encoding="utf-8")
    by_folder = chaoskit("compare", first, "20260102", "--over", "200ms")
    assert by_folder.out == answer.out
    data = json.loads(chaoskit("compare", "previous", "latest", "--json").out)
    assert data["scenarios"][0]["operations"]["ask"]["over 500ms"] == {"before": 0.0, "after": 0.0, "direction": "same"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["latest", "prevous"], "did you mean 'previous'?"),
        (["latest", "previous"], "no previous run"),
        (["latest", "latest", "--over", "200"], "--over 200: '200' is not a duration"),
        (["latest", "latest", "--over", "aks=1s"], "unknown operation 'aks'; legal: ask; did you mean 'ask'?"),
        (["latest", "latest", "--figure", "a.pdf"], "--figure a.pdf: the name must end in .svg or .png"),
        (["latest", "latest", "--figure", "pyproject.toml/a.svg"], "--figure pyproject.toml/a.svg: "),
        (["latest", "reports"], "reports holds no recorded scenario"),
    ],
)
def test_compare_bad_input(chaoskit: Chaoskit, runs: Any, words: list[str], told: str) -> None:
    """2, and one sentence."""
    runs(ask=0.01)
    answer = chaoskit("compare", *words)
    assert answer.status == 2
    assert told in answer.err
