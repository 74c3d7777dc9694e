"""Recorded scenarios read back from their folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.judge.verdict import Judged, Verdict
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.report.runs import NOT_RUN, Recorded, from_dict, read, read_run, write_not_run

FINDING = {"id": "a", "outcome": "held", "expected": "", "seen": "", "samples": 1, "line": 1}


def folder(root: Path, name: str, meta: dict | None = None, verdict: dict | None = None) -> Path:
    """The folder of a finished scenario."""
    made = root / name
    made.mkdir(parents=True)
    given = {
        "scenario": "Made up",
        "matrix": {},
        "control": False,
        "started": "2026-01-01T10:00:00+0000",
        **(meta or {}),
    }
    (made / "run.json").write_text(json.dumps(given), encoding="utf-8")
    whole = {**Verdict(Outcome.HELD, "8 findings held", recovery=1.5, samples=7).as_dict(), **(verdict or {})}
    (made / "verdict.json").write_text(json.dumps(whole), encoding="utf-8")
    return made


def test_what_is_read(tmp_path):
    """Everything a report needs, from the two files."""
    meta = {
        "case": "B1", "severity": "critical", "owner": "orders", "tags": ["a"], "seed": 4, "wall": 9.5,
        "nodeid": "x.chaos.yaml::made-up", "reproduce": "pytest --chaos x", "runtime": "process",
        "toxiproxy": "embedded", "chaoskit": "0.1", "python": "3.11", "file": "x.chaos.yaml", "description": "why",
    }  # fmt: skip
    recorded = read(folder(tmp_path, "made-up", meta))
    assert (recorded.name, recorded.key, recorded.slug) == ("made-up", "x.chaos.yaml::made-up", "made-up")
    assert (recorded.outcome, recorded.passed, recorded.recovery, recorded.samples) == ("held", True, 1.5, 7)
    assert {name: getattr(recorded, name) for name in meta if name != "tags"} == {
        name: value for name, value in meta.items() if name != "tags"
    }
    assert from_dict(json.loads(json.dumps(recorded.as_dict()))) == recorded


def test_alerting(tmp_path):
    """How it was served, and what was changed for it; another run without it has neither."""
    meta = {
        "alerting": {"served_by": "prometheus 2.42.0", "changes": ["for 5m → 1s", "url http://u:geheim@x left out"]}
    }
    recorded = read(folder(tmp_path, "a", meta))
    assert recorded.alerting == "prometheus 2.42.0"
    assert recorded.alerting_changes == ("for 5m → 1s", "url http://u:***@x left out")
    assert from_dict(json.loads(json.dumps(recorded.as_dict()))) == recorded
    assert (read(folder(tmp_path, "b", {})).alerting, recorded.runtime) == ("", "")


@pytest.mark.parametrize(
    ("outcome", "control", "expected"),
    [
        ("violated", {"caught": True, "reason": "caught by a"}, ("caught", True, "caught by a")),
        ("held", {"caught": False, "reason": "not violated"}, ("not caught", False, "not violated")),
        ("broken", {"caught": False, "reason": "says nothing"}, ("broken", False, "says nothing")),
    ],
)
def test_controls(tmp_path, outcome, control, expected):
    """Caught, not caught, or broken."""
    recorded = read(folder(tmp_path, "a--control", {"control": True}, {"outcome": outcome, "control": control}))
    assert (recorded.outcome, recorded.passed, recorded.reason) == expected


def test_secrets_are_masked(tmp_path):
    """In the reason, in findings and in evidence: they hold text of services."""
    secret = "password=hunter2"
    finding = {**FINDING, "outcome": "violated", "seen": secret, "rows": [secret]}
    fault = {
        "name": "f",
        "kind": "noop",
        "target": "",
        "touched": 1,
        "unit": "",
        "evidence": {"last": {"line": secret}},
    }
    verdict = {"outcome": "violated", "reason": secret, "findings": [finding], "faults": [fault]}
    recorded = read(folder(tmp_path, "a", None, verdict))
    assert "hunter2" not in json.dumps(recorded.as_dict())
    assert json.dumps(recorded.as_dict()).count("password=***") == 4


def test_worst_first(tmp_path):
    """Broken, violated, vacuous; what held is left out."""
    outcomes = ("held", "vacuous", "violated", "broken")
    findings = [{**FINDING, "id": outcome, "outcome": outcome} for outcome in outcomes]
    recorded = read(folder(tmp_path, "a", None, {"outcome": "broken", "findings": findings}))
    assert [finding["id"] for finding in recorded.failed] == ["broken", "violated", "vacuous"]


def test_worst_first_as_judged(tmp_path):
    """What is read back is in the order of the verdict, down to what was not asked for."""
    judged = [
        Judged(Finding(id_, Outcome(outcome), "", "", 0), line, asked)
        for id_, outcome, line, asked in (
            ("recovery", "violated", 1, False),
            ("during.ask.p99", "violated", 9, True),
            ("during.ask.p999", "vacuous", 2, True),
            ("fault.slow", "vacuous", 3, True),
            ("steady_state.ask.p50", "violated", 14, True),
        )
    ]
    verdict = Verdict(Outcome.VACUOUS, "x", judged)
    recorded = read(folder(tmp_path, "a", None, verdict.as_dict()))
    expected = ["steady_state.ask.p50", "during.ask.p99", "recovery", "fault.slow", "during.ask.p999"]
    assert [finding["id"] for finding in recorded.failed] == expected
    assert [each.finding.id for each in verdict.failed()] == expected


def test_a_run(tmp_path):
    """In the order in which the scenarios started; one scenario's folder is a run of one."""
    folder(tmp_path, "b", {"started": "2026-01-01T10:00:00+0000"})
    folder(tmp_path, "a", {"started": "2026-01-01T10:00:09+0000"})
    (tmp_path / "environment-0-x").mkdir()
    assert [each.slug for each in read_run(tmp_path)] == ["b", "a"]
    assert [each.slug for each in read_run(tmp_path / "a")] == ["a"]


def test_what_failed_without_being_run(tmp_path):
    """It is of the run, with others or alone; what cannot be read is told, and never taken for a run that held."""
    bad = Recorded(None, "bad", "bad--invalid", "invalid", "x:1: typo", severity="unknown", started="2026-01-01T09:00")
    write_not_run(tmp_path / "alone", [bad])
    assert read_run(tmp_path / "alone") == [bad]
    folder(tmp_path / "run", "made-up")
    write_not_run(tmp_path / "run", [bad])
    assert [each.slug for each in read_run(tmp_path / "run")] == ["bad--invalid", "made-up"]
    for text in ("", "[1]", "[{}]", "{}x"):
        (tmp_path / "run" / NOT_RUN).write_text(text, encoding="utf-8")
        with pytest.raises(BrokenError, match=f"{NOT_RUN} cannot be read"):
            read_run(tmp_path / "run")


def test_one_that_was_killed(tmp_path):
    """No verdict was written: it is judged now, and is broken; and so is one that cannot be judged."""
    killed = folder(tmp_path, "killed", {"broken": "the run was interrupted"})
    (killed / "verdict.json").unlink()
    scenario = Path(__file__).parents[2] / "examples/quickstart/scenarios"
    (killed / "scenario.chaos.yaml").write_text((scenario / "slow-rates.chaos.yaml").read_text())
    (killed / "environment.yaml").write_text((scenario / "environments/prices.yaml").read_text())
    assert (read(killed).outcome, read(killed).reason) == ("broken", "the run was interrupted")
    (killed / "scenario.chaos.yaml").write_text("scenario: x\n")
    assert read(killed).outcome == "broken"
    assert read(killed).reason.startswith("it cannot be judged again: ")


def test_folders_that_cannot_be_read(tmp_path):
    """They are named."""
    with pytest.raises(BrokenError, match=r"nosuch holds no recorded scenario \(run.json is missing\)"):
        read(tmp_path / "nosuch")
    with pytest.raises(BrokenError, match="holds no recorded scenario"):
        read_run(tmp_path)
    cut = folder(tmp_path, "cut")
    (cut / "verdict.json").write_text('{"outcome": "he')
    with pytest.raises(BrokenError, match=r"verdict\.json cannot be read"):
        read(cut)
    (cut / "run.json").write_text("[]")
    with pytest.raises(BrokenError, match=r"run\.json cannot be read: it holds no object"):
        read(cut)


def test_data_of_other_versions():
    """What is not known is left out, what is missing has its default."""
    data = {"folder": None, "scenario": "a", "slug": "a", "outcome": "held", "reason": "", "future": 1}
    assert from_dict(data) == Recorded(folder=None, scenario="a", slug="a", outcome="held", reason="")
    with pytest.raises(ValueError, match="`slug`"):
        from_dict({"scenario": "a"})
