"""Verdicts as data, and when a control counts as caught."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaoskit.history import rows as r
from chaoskit.judge.verdict import Judged, Verdict, judge_control
from chaoskit.language.expectation import Finding, Outcome


def found(id: str, outcome: Outcome = Outcome.VIOLATED, line: int = 1) -> Judged:
    """A finding."""
    return Judged(Finding(id, outcome, "< 1s", "2s", 100, ("during",)), line)


def verdict(outcome: Outcome, *findings: Judged) -> Verdict:
    """A verdict with these findings."""
    return Verdict(outcome, "the reason", findings)


def test_failed_findings_come_worst_first() -> None:
    """Broken, then violated, then vacuous; of one kind by line. What held is left out."""
    findings = (
        found("a", Outcome.VACUOUS, 1),
        found("b", Outcome.VIOLATED, 9),
        found("c", Outcome.HELD, 2),
        found("d", Outcome.VIOLATED, 3),
        found("e", Outcome.BROKEN, 20),
    )
    failed = verdict(Outcome.BROKEN, *findings).failed()
    assert [judged.finding.id for judged in failed] == ["e", "d", "b", "a"]


def test_the_order_of_what_failed() -> None:
    """As the outcome is decided, then causes, faults that touched nothing, what was asked for, as written."""
    findings = [
        found("ledger.place.lost", Outcome.BROKEN, 9),
        found("steady_state.place.p99", line=8),
        found("during.place.p99", line=3),
        found("during.place.p50", line=7),
        replace(found("recovery", line=1), asked=False),
        Judged(replace(found("alerts.X").finding, because="during.place.p50"), 2),
        found("fault.slow", Outcome.VACUOUS, 6),
        found("after.place.p99", Outcome.VACUOUS, 4),
        found("steady_state.place.p95", Outcome.VACUOUS, 8),
    ]
    assert verdict(Outcome.BROKEN, *reversed(findings)).failed() == findings


def test_a_verdict_is_plain_data() -> None:
    """It survives JSON, with outcomes as words and findings with their lines."""
    fault = r.Fault(
        name="slow", kind="latency", target="db", planned_start=0, planned_end=1, started=0, injected=0, ended=1,
        touched=3, unit="connections", evidence={"toxic": "slow"},
    )  # fmt: skip
    data = json.loads(json.dumps(Verdict(Outcome.VIOLATED, "x", [found("a", line=7)], [fault], 1.5, 10).as_dict()))
    assert data["outcome"] == "violated"
    assert data["recovery"] == 1.5
    assert data["findings"][0]["line"] == 7
    assert data["findings"][0]["outcome"] == "violated"
    (row,) = data["faults"]
    assert (row["name"], row["target"], row["touched"], row["evidence"]) == (
        "slow",
        "db",
        3,
        {"toxic": "slow"},
    )


@pytest.mark.parametrize(
    ("violates", "found_there"),
    [
        (["during.place.p99"], ["during.place.p99"]),
        (["during.place"], ["during.place.p99"]),
        (["during"], ["during.place.p99", "during.place.p95"]),
        (["during.place.p99", "recovery"], ["recovery", "during.place.p99", "retries.attempts"]),
    ],
)
def test_a_control_is_caught_where_it_says(violates: Sequence[str], found_there: Sequence[str]) -> None:
    """Every name in ``violates`` is violated; a name covers what lies below it."""
    control = judge_control(verdict(Outcome.VIOLATED, *map(found, found_there)), violates)
    assert control.caught
    assert control.reason == f"caught by {', '.join(found_there)}"


@pytest.mark.parametrize(
    ("outcome", "found_there", "says"),
    [
        (Outcome.HELD, [], "not violated with the protection off: during.place.p99; the outcome was held"),
        (Outcome.VIOLATED, ["during.place.p9"], "violated was during.place.p9"),
        (Outcome.VIOLATED, ["during.place"], "violated was during.place"),
        (Outcome.VACUOUS, [], "the outcome was vacuous"),
        (Outcome.VACUOUS, ["during.place.p99"], "the control proves nothing: the reason"),
        (Outcome.BROKEN, ["during.place.p99"], "the control says nothing: the reason"),
    ],
)
def test_a_control_is_not_caught(outcome: Outcome, found_there: Sequence[str], says: str) -> None:
    """Held, violated elsewhere, vacuous or broken: the scenario has not proved that it can fail."""
    control = judge_control(verdict(outcome, *map(found, found_there)), ["during.place.p99"])
    assert not control.caught
    assert says in control.reason
