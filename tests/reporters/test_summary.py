"""The short facts of a result, the text of a failure, and the table at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.engine.session import Result
from chaoskit.engine.verdict import ControlVerdict, Judged, Verdict
from chaoskit.expectations.base import Finding, Outcome
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.reporters import summary
from chaoskit.reporters.terminal import table
from chaoskit.scenario.loader import load

TEXT = """\
scenario: Made up
case: C1
severity: critical
environment: {services: {stub: {provider: noop}}}
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
expect:
  during:
    ask: {p95: "< 500ms"}
"""
FAULT = r.Fault(
    name="slow", kind="noop", target="stub", planned_start=0, planned_end=2, started=0, injected=0.0123, ended=2,
    touched=3, unit="connections", evidence={"toxic": "x", "password": "password=hunter2"},
)  # fmt: skip
HELD = Judged(Finding("steady_state.ask.success_rate", Outcome.HELD, ">= 99%", "100%", 100), 6)
VIOLATED = Judged(
    Finding(
        "during.ask.p95",
        Outcome.VIOLATED,
        "< 500ms",
        "812ms",
        100,
        (),
        "worst second: 1s at +1.0 s",
        ("a", "b"),
    ),
    10,
)

Make = Callable[..., Result]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes results without running anything."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "made-up.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)

    def result(outcome: Outcome, *findings: Judged, control: bool | None = None, **fields: Any) -> Result:
        verdict = Verdict(
            outcome, fields.pop("reason", "the reason"), findings, [FAULT], fields.pop("recovery", 0.5), 350
        )
        judged = None if control is None else ControlVerdict(control, "why it was not", verdict)
        return Result(scenario, tmp_path / "runs" / "1" / "made-up", History(), verdict, judged, 5.0, 7)

    return result


def test_facts_of_a_result(make: Make) -> None:
    """Plain data: it travels from xdist's workers."""
    facts = summary.of(make(Outcome.VIOLATED, HELD, VIOLATED))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["outcome"] == "violated"
    assert not facts["passed"]
    assert facts["worst"] == "during.ask.p95"
    assert facts["evidence"] == ["3 connections"]
    assert (facts["case"], facts["severity"], facts["seed"], facts["requests"]) == ("C1", "critical", 7, 350)


@pytest.mark.parametrize(
    ("outcome", "control", "word", "passed"),
    [
        (Outcome.HELD, None, "held", True),
        (Outcome.VIOLATED, None, "violated", False),
        (Outcome.VACUOUS, None, "vacuous", False),
        (Outcome.BROKEN, None, "broken", False),
        (Outcome.VIOLATED, True, "caught", True),
        (Outcome.HELD, False, "not caught", False),
        (Outcome.VACUOUS, False, "not caught", False),
        (Outcome.BROKEN, False, "broken", False),
    ],
)
def test_the_word_for_an_outcome(make: Make, outcome: Outcome, control: bool | None, word: str, passed: bool) -> None:
    """Only held scenarios and caught controls pass."""
    facts = summary.of(make(outcome, control=control))
    assert (facts["outcome"], facts["passed"]) == (word, passed)


def test_the_text_of_a_failure(make: Make) -> None:
    """Source line, expected, seen, samples, worst, rows, evidence, seed, and how to judge again. Secrets masked."""
    assert summary.failure(make(Outcome.VIOLATED, HELD, VIOLATED)).splitlines() == [
        "VIOLATED: Made up",
        "",
        "made-up.chaos.yaml:10: VIOLATED during.ask.p95",
        '    | ask: {p95: "< 500ms"}',
        "    expected  < 500ms",
        "    seen      812ms",
        "    samples   100",
        "    worst     worst second: 1s at +1.0 s",
        "    rows      a, b",
        "",
        "fault slow (noop on stub): 12.3ms to inject, touched 3 connections toxic=x, password=***",
        "steady state held again: after 500ms;  requests: 350;  seed: 7",
        f"history: {Path.cwd()}/runs/1/made-up   (judge it again: chaoskit judge {Path.cwd()}/runs/1/made-up)",
    ]


def test_the_reason_comes_first_where_no_finding_has_it(make: Make) -> None:
    """Broken and vacuous say why; a control that was not caught names the line of the control."""
    assert summary.failure(make(Outcome.BROKEN, reason="no port")).splitlines()[:2] == [
        "BROKEN: Made up",
        "no port",
    ]
    text = summary.failure(make(Outcome.HELD, control=False)).splitlines()
    assert text[:2] == ["CONTROL NOT CAUGHT: Made up", "made-up.chaos.yaml:1: why it was not"]


def test_secrets_in_a_reason_are_masked(make: Make) -> None:
    """A service's last lines may hold anything."""
    result = make(Outcome.BROKEN, reason="last lines: redis://:hunter2@localhost")
    assert "hunter2" not in summary.failure(result) + str(summary.of(result))


def test_the_table(make: Make) -> None:
    """A row each, sorted; counts of scenarios and controls apart; the first failure to run again; what was swept."""
    facts = [
        {**summary.of(make(Outcome.VIOLATED, VIOLATED, recovery=None)), "nodeid": "b.chaos.yaml::slow"},
        {**summary.of(make(Outcome.HELD, HELD)), "nodeid": "a.chaos.yaml::fine"},
        {
            **summary.of(make(Outcome.VIOLATED, VIOLATED, control=True)),
            "nodeid": "a.chaos.yaml::fine--control",
        },
    ]
    assert list(table(facts, Path("reports"), ["process 17"])) == [
        "scenario       verdict   recovery  evidence       worst finding",
        "fine           held      500ms     3 connections",
        "fine--control  caught    500ms     3 connections  during.ask.p95",
        "slow           violated  -         3 connections  during.ask.p95",
        "",
        "1 of 2 scenarios held, 1 of 1 controls caught; 1050 requests",
        "run one again: pytest --chaos --chaos-seed 7 'b.chaos.yaml::slow'",
        f"histories: {Path.cwd()}/runs/1   Allure results: reports/allure-results",
        "swept from an earlier run: process 17",
    ]


def test_a_control_to_run_again_needs_its_flag(make: Make) -> None:
    """The command that is shown runs what failed."""
    facts = [{**summary.of(make(Outcome.HELD, control=False)), "nodeid": "a.chaos.yaml::fine--control"}]
    text = "\n".join(table(facts, Path("reports"), []))
    assert "pytest --chaos --chaos-controls --chaos-seed 7 'a.chaos.yaml::fine--control'" in text
