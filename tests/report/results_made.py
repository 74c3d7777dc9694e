"""Results made up for the tests of what is told of them: nothing ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaoskit.engine.session import Result
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.verdict import ControlVerdict, Judged, Verdict
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.loader import load

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


def maker(folder: Path) -> Make:
    """Makes results of a scenario in ``folder``, which should be the working directory."""
    file = folder / "made-up.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)

    def result(outcome: Outcome, *findings: Judged, control: bool | None = None, **fields: Any) -> Result:
        verdict = Verdict(
            outcome, fields.get("reason", "the reason"), findings, fields.get("faults", [FAULT]),
            fields.get("recovery", 0.5), 350, sop_recovery=fields.get("sop_recovery"),
        )  # fmt: skip
        word = str(outcome) if outcome in (Outcome.BROKEN, Outcome.INCONCLUSIVE) else "not caught"
        judged = None if control is None else ControlVerdict("caught" if control else word, "why it was not", verdict)
        history = History()
        for row in fields.get("rows", ()):
            history.add(row)
        return Result(
            scenario, folder / "runs" / "1" / "made-up", history, verdict, judged, 5.0, 7, fields.get("meta", {})
        )

    return result


def silent(*ids: str) -> list[Judged]:
    """An alert that never fired, and what follows from it."""
    found = [Judged(Finding("alerts.X.fires_within", Outcome.VIOLATED, "fires within 5s", "never fired", 0), 7)]
    return found + [
        Judged(Finding(id_, Outcome.VACUOUS, "", "it never fired", 0, because="alerts.X.fires_within"), 8)
        for id_ in ids
    ]
