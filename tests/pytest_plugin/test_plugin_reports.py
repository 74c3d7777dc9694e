"""What a run of pytest leaves at its end: history, page, the gate's answer and exit status; serial and with xdist."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaoskit.report.runs import read_run
from chaoskit.trend.history_db import Database, Revision, folders

VIOLATED = (('get: {p90: "< 2s"}', 'get: {p90: "< 20ms"}'), ("The front answers", "The violated front answers"))
MINOR = (("severity: critical", "severity: minor"),)


def entries(project: Any) -> list[Any]:
    """The runs in the history, newest first."""
    with Database(project.folder / "reports" / "history.db", create=False) as database:
        return database.runs()


def gate(project: Any) -> dict[str, Any]:
    """The gate's answer."""
    data: dict[str, Any] = json.loads((project.folder / "reports" / "gate.json").read_text(encoding="utf-8"))
    return data


FAULT = """\
from chaoskit.faults.noop import Noop
from chaoskit.language.run_target import Refusal

class Picky(Noop):
    def refusal(self, setting):
        return Refusal("netem", "it cannot be done here")
"""


def skip(project: Any) -> None:
    """Add a scenario that is skipped wherever it is run."""
    folder = project.folder / "plugins" / "faults"
    folder.mkdir(parents=True)
    (folder / "picky.py").write_text(FAULT, encoding="utf-8")
    scenario = project.edit(("latency: {on: front, delay: 60ms}", "picky: {}"), ("The front answers", "A third"))
    project.write(skipped=scenario + "requires: [netem]\n")


def test_what_a_run_leaves(project: Any) -> None:
    """Without the gate: a run in the history, skipped scenarios included, the page, and nothing of the gate."""
    project.write(held=project.scenario, bad=project.edit(*VIOLATED))
    skip(project)
    done = project.run("--chaos", "scenarios")
    assert done.status == 1
    (entry,) = entries(project)
    (folder,) = (project.folder / "reports" / "runs").iterdir()
    assert (entry.id, entry.folders, entry.gate) == (folder.name, [folder], "")
    assert entry.counts == {"held": 1, "violated": 1, "skipped": 1}
    assert entry.score == 50
    with Database(project.folder / "reports" / "history.db") as database:
        kept = {each.outcome: each for each in database.scenarios(entry.id)}
    assert kept["skipped"].severity == "critical"
    assert "it cannot be done here" in kept["skipped"].reason
    assert not kept["skipped"].reason.startswith("Skipped")
    assert kept["held"].nodeid.startswith("scenarios/held.chaos.yaml::")
    page = (project.folder / "reports" / "chaoskit.html").read_text(encoding="utf-8")
    assert "The violated front answers" in page
    assert not (project.folder / "reports" / "gate.json").exists()


def test_the_gate_lets_through_what_does_not_block(project: Any) -> None:
    """A minor violation fails pytest; with the gate it is named, and the exit status is 0."""
    project.write(held=project.scenario, bad=project.edit(*VIOLATED, *MINOR))
    done = project.run(
        "--chaos", "--chaos-gate", "scenarios", env={"GITHUB_STEP_SUMMARY": str(project.folder / "sum.md")}
    )
    assert done.status == 0, done.out
    assert "1 failed, 1 passed" in done.out
    assert "gate: PASSED   score 80   1 held, 1 violated" in done.out
    assert "does not block: " in done.out
    assert gate(project)["decision"] == "passed"
    assert entries(project)[0].gate == "passed"
    assert (project.folder / "sum.md").read_text(encoding="utf-8").startswith("## ✅ Resilience gate: passed")


def test_the_gate_blocks_what_pytest_lets_through(project: Any) -> None:
    """A run that held, but whose p99 is over that of an earlier one: exit status 1; and the setting can be changed."""
    project.write(
        held=project.edit(("delay: 60ms", "delay: 200ms"), ("rate: 50/s", "rate: 60/s"), ("for: 1s", "for: 2s"))
    )
    assert project.run("--chaos", "scenarios").status == 0
    (first,) = entries(project)
    with Database(project.folder / "reports" / "history.db") as database:
        (held,) = database.scenarios(first.id)
        quick = {op: replace(seen, p99=0.01) for op, seen in held.operations.items()}
        database.record(first.id, [replace(held, operations=quick)], Revision())
    (project.folder / "gate.yaml").write_text("p99: 50%\nrecovery: off\n")
    done = project.run("--chaos", "--chaos-gate-settings", "gate.yaml", "scenarios")
    assert done.status == 1
    assert "1 passed" in done.out
    assert [reason["check"] for reason in gate(project)["reasons"]] == ["p99"]
    assert [entry.gate for entry in entries(project)] == ["blocked", ""]
    done = project.run("--chaos", "--chaos-gate-settings", "gate.yaml", "--chaos-gate-set", "p99=50% + 1m", "scenarios")
    assert done.status == 0


def test_other_failures_are_not_the_gates(project: Any) -> None:
    """A plain test that fails still fails the run."""
    project.write(held=project.scenario)
    (project.scenarios / "test_plain.py").write_text("def test_plain():\n    assert False\n")
    done = project.run("--chaos", "--chaos-gate", "scenarios")
    assert (done.status, gate(project)["decision"]) == (1, "passed")


TYPO = (("timeline:", "timelin:"), ("severity: critical", "severity: password=hunter2"))


def test_a_file_with_mistakes_is_told_by_every_report(project: Any) -> None:
    """Terminal, page, history, the run's folder, and the gate: blocked, whatever severities it lets through."""
    project.write(held=project.scenario, typo=project.edit(*TYPO))
    done = project.run("--chaos", "--chaos-gate-set", "block=none", "--chaos-gate-set", "min_score=0", "scenarios")
    assert done.status == 1
    assert "1 of 2 scenarios held, 1 invalid; " in done.out
    assert "stability score: 33.3 of 100" in done.out
    assert "gate: BLOCKED   score 33.3   1 held, 1 invalid" in done.out
    assert [(each["check"], each["scenario"]) for each in gate(project)["reasons"]] == [
        ("invalid", "scenarios/typo.chaos.yaml::typo--invalid")
    ]
    assert [each["blocks"] for each in gate(project)["failed"]] == [True]
    (entry,) = entries(project)
    assert (entry.counts, entry.gate, entry.passed) == ({"held": 1, "invalid": 1}, "blocked", False)
    (folder,) = entry.folders
    with Database(project.folder / "reports" / "history.db") as database:
        (kept,) = [each for each in database.scenarios(entry.id) if each.invalid]
    assert [each for each in read_run(folder) if each.invalid] == [kept]
    assert (kept.scenario, kept.severity) == ("The front answers in time while it is slow", "unknown")
    assert "scenarios/typo.chaos.yaml:14: unknown key 'timelin'" in kept.reason
    assert kept.reproduce.endswith("pytest --chaos scenarios/typo.chaos.yaml")
    page = (project.folder / "reports" / "chaoskit.html").read_text(encoding="utf-8")
    assert "1 of 2 scenarios held" in page
    assert "unknown key &#39;timelin&#39;" in page
    assert "<code>pytest --chaos scenarios/typo.chaos.yaml</code>" in page
    for file in ("chaoskit.html", "gate.json", "gate.md", "gate.xml", f"runs/{folder.name}/not_run.json"):
        assert "hunter2" not in (project.folder / "reports" / file).read_text(encoding="utf-8"), file


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("scenario: x\n", []),
        ("scenario: [a, : b\n", []),
        ("\u0000\n", []),
        ("scenario: x\n", ["-n", "2"]),
        ("scenario: x\n", ["-m", "chaos"]),
    ],
    ids=["mistake", "no YAML", "no text", "xdist", "marker"],
)
def test_a_run_of_nothing_but_mistakes(project: Any, text: str, flags: list[str]) -> None:
    """It is recorded, once also with xdist, which collects in each worker; it is blocked, and no baseline."""
    project.write(bad=text)
    done = project.run("--chaos", "--chaos-gate", *flags, "scenarios")
    assert (done.status, gate(project)["decision"]) == (1, "blocked"), done.out
    (entry,) = entries(project)
    assert (entry.counts, entry.score, entry.passed) == ({"invalid": 1}, 0, False)
    folder = project.folder / "reports" / "runs" / entry.id
    (kept,) = read_run(folder)
    assert (kept.outcome, kept.file) == ("invalid", "scenarios/bad.chaos.yaml")
    assert folders(project.folder / "reports" / "history.db", "latest") == [folder]


def test_a_scenario_that_fails_before_it_is_run(project: Any) -> None:
    """A fault that is refused here: broken, and its severity is the gate's business like that of any other."""
    skip(project)
    scenario = (project.scenarios / "skipped.chaos.yaml").read_text(encoding="utf-8")
    (project.scenarios / "skipped.chaos.yaml").unlink()
    project.write(refused=scenario.replace("requires: [netem]\n", ""))
    done = project.run("--chaos", "--chaos-gate", "scenarios")
    assert (done.status, gate(project)["decision"]) == (1, "blocked"), done.out
    assert "0 of 1 scenario held; " in done.out
    (entry,) = entries(project)
    assert (entry.counts, entry.passed) == ({"broken": 1}, False)
    (kept,) = read_run(project.folder / "reports" / "runs" / entry.id)
    assert (kept.severity, kept.folder) == ("critical", None)
    assert kept.reason.startswith("scenarios/refused.chaos.yaml:17: fault slow (picky) is refused here: it cannot be")


def test_nothing_to_judge(project: Any) -> None:
    """All scenarios skipped, or none there: 5, as pytest says of no tests."""
    skip(project)
    done = project.run("--chaos", "--chaos-gate", "scenarios")
    assert (done.status, gate(project)["decision"]) == (5, "nothing to judge")
    (project.scenarios / "test_plain.py").write_text("def test_plain():\n    pass\n")
    assert project.run("--chaos", "--chaos-gate", "scenarios/test_plain.py").status == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--chaos-gate-set", "min_score"], "--chaos-gate-set min_score: NAME=VALUE is expected"),
        (["--chaos-gate-set", "min-scor=3"], "unknown setting 'min_scor'"),
        (["--chaos-gate-settings", "nosuch.yaml"], "nosuch.yaml: No such file"),
        (["-o", "chaos_history_keep=0"], "chaos_history_keep: '0' is not a number of runs"),
    ],
)
def test_bad_settings_stop_the_run_before_it_starts(project: Any, words: list[str], told: str) -> None:
    """4, as for any wrong use of pytest, and no scenario is run."""
    project.write(held=project.scenario)
    done = project.run("--chaos", "scenarios", *words)
    assert done.status == 4
    assert told in done.out
    assert "Traceback" not in done.out
    assert not (project.folder / "reports").exists()


def test_a_history_that_cannot_be_written(project: Any) -> None:
    """The run fails and says why; the outcome of the scenario is told, and the page is written all the same."""
    project.write(held=project.scenario)
    (project.folder / "reports").mkdir()
    (project.folder / "reports" / "history.db").write_bytes(b"not a database, and long enough to look at" * 50)
    done = project.run("--chaos", "scenarios")
    assert done.status == 1
    assert "1 passed" in done.out
    assert "chaoskit: reports could not be written" in done.out
    assert "the history: " in done.out
    assert "file is not a database" in done.out


def test_one_run_of_several_workers(project: Any) -> None:
    """With xdist: one entry with the scenarios of both workers, the page and the gate once."""
    project.write(one=project.scenario, two=project.edit(("The front answers", "The other front answers")))
    done = project.run("--chaos", "--chaos-gate", "-n", "2", "scenarios")
    assert done.status == 0, done.out
    (entry,) = entries(project)
    assert entry.counts == {"held": 2}
    assert len(entry.folders) == 2
    assert sum(len(read_run(folder)) for folder in entry.folders) == 2
    assert done.out.count("gate: PASSED") == 1
    assert entry.id == gate(project)["run"]


def test_the_oldest_runs_are_forgotten(project: Any) -> None:
    """As many are kept as chaos_history_keep says; listing the tests adds none."""
    project.write(held=project.scenario)
    for _ in range(3):
        assert project.run("--chaos", "scenarios", "-o", "chaos_history_keep=2").status == 0
    assert len(entries(project)) == 2
    before = (project.folder / "reports" / "history.db").read_bytes()
    assert project.run("--chaos", "--collect-only", "scenarios").status == 0
    assert (project.folder / "reports" / "history.db").read_bytes() == before
    with sqlite3.connect(Path(project.folder, "reports", "history.db")) as raw:
        assert raw.execute("SELECT count(*) FROM scenarios").fetchone() == (2,)
    raw.close()
