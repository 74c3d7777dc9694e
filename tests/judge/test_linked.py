"""Findings that only follow from another name it, whole and at the root; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.consequences import linked
from chaoskit.judge.judging import judge
from chaoskit.judge.verdict import Judged
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.loader import load

HELD, VIOLATED, VACUOUS, BROKEN = Outcome.HELD, Outcome.VIOLATED, Outcome.VACUOUS, Outcome.BROKEN


def found(id: str, because: str = "", outcome: Outcome = VIOLATED) -> Judged:
    """A finding in few words."""
    return Judged(Finding(id, outcome, "expected", "seen", 1, because=because), 1)


@pytest.mark.parametrize(
    ("findings", "because"),
    [
        ([found("a.X.fires"), found("a.X.times", "a.X")], "a.X.fires"),
        ([found("a.X.fires"), found("a.X.times", "a.X.fires")], "a.X.fires"),
        ([found("a.X.fires"), found("a.X.times", "a.X"), found("s.times", "a")], "a.X.fires"),
        ([found("a.X.fires"), found("s.times", "a.X"), found("recovery", "s")], "a.X.fires"),
        ([found("a.XY.fires"), found("s.times", "a.X")], ""),
        ([found("a.X.fires", outcome=HELD), found("a.X.times", "a.X")], ""),
        ([found("a.X.fires", outcome=VACUOUS), found("a.X.times", "a.X")], ""),
        ([found("a.X.fires", outcome=BROKEN), found("a.X.times", "a.X")], "a.X.fires"),
        ([found("a.X.fires"), found("a.X.times", "a.X", HELD)], ""),
        ([found("a"), found("b", "b")], ""),
    ],
)
def test_the_cause_of_the_last(findings: list[Judged], because: str) -> None:
    """The one that is named by its id or the beginning of it, failed, and is at least as bad."""
    assert linked(findings)[-1].finding.because == because


def test_a_cause_may_stand_behind() -> None:
    """The order is that of the file."""
    assert linked([found("a.X.times", "a.X"), found("a.X.fires")])[0].finding.because == "a.X.fires"


def test_a_circle_ends() -> None:
    """Two that name each other do not hang the judge."""
    assert [each.finding.because for each in linked([found("a", "b"), found("b", "a")])] == ["b", "a"]


SILENT = """\
scenario: Silent
environment: {services: {stub: {provider: noop}}}
traffic: {ask: {request: "GET {{ stub.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
sops:
  - {sop: Mend, on: {alert: Slow, severity: P2}, steps: [{restart: {service: stub}}]}
timeline: {faults: [{slow: {noop: {}, for: 2s}}]}
expect:
  recovery: {within: 5s, because_of: sop}
  sop: {action_type: restart}
  alerts: {source: application, name: Slow, fires_within: 1s, resolves_within: 1s, severity: P2}
"""


def test_a_verdict_keeps_every_finding(tmp_path: Path) -> None:
    """With its id, for controls name ids; the first reason is the cause, wherever it stands in the file."""
    file = tmp_path / "silent.chaos.yaml"
    file.write_text(SILENT, encoding="utf-8")
    (scenario,) = load(file)
    history = History()
    for name, start, end in (("steady", -2, 0), ("faults", 0, 2), ("recovery", 2, 5)):
        history.add(r.Phase(name=name, started=start, ended=end))
    for seq in range(350):
        at = -2 + seq / 50
        history.add(
            r.Request(
                op="ask", seq=seq, stream="base:ask", intended=at, sent=at, ended=at + 0.01, status=200, error=None,
                ok=True, fallback=False, id=str(seq),
            )
        )  # fmt: skip
    history.add(
        r.Fault(
            name="slow", kind="noop", target="stub", planned_start=0, planned_end=2, started=0, injected=0, ended=2,
            touched=3, unit="connections",
        )
    )  # fmt: skip
    history.add(r.Schedule(at=5, planned=350, sent=350, lag_p50=0, lag_p99=0, lag_max=0))
    verdict = judge(scenario, history)
    cause = "alerts.Slow.fires_within"
    assert {judged.finding.id: judged.finding.because for judged in verdict.failed()} == {
        cause: "",
        "alerts.Slow.resolves_within": cause,
        "alerts.Slow.severity": cause,
        "sop.restart.times": cause,
        "recovery.because_of": cause,
    }
    assert verdict.failed()[0].finding.id == cause
    assert verdict.reason == f"{cause}: expected fires within 1s, seen never fired"
    assert {"sop.restart.times", "recovery.because_of"} <= set(verdict.violated())
    plain = {each["id"]: each["because"] for each in verdict.as_dict()["findings"]}
    assert plain["sop.restart.times"] == cause
    assert plain["recovery"] == ""
