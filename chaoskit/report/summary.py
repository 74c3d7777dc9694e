"""A result in few words: plain data for tables and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chaoskit.base.mask import mask
from chaoskit.base.units import counted, format_duration
from chaoskit.history import rows as r
from chaoskit.history.alerts import incidents
from chaoskit.language.expectation import Outcome

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.judge.verdict import Verdict


NOT_CAUGHT = "CONTROL NOT CAUGHT"


def heading(result: Result) -> str:
    """The word that a failure's text begins with: the outcome of the scenario, or of its control."""
    control = result.control
    if control is None:
        return str(result.verdict.outcome).upper()
    return NOT_CAUGHT if control.outcome == "not caught" else control.outcome.upper()


def of(result: Result) -> dict[str, Any]:
    """The summary of a result: JSON data. ``passed`` is what pytest is told, ``headline`` why it did not, in a line.

    ``alerts`` and ``sops`` are the names of those that fired and were run, once for each time.
    """
    verdict, control = result.verdict, result.control
    passed = control.caught if control else verdict.outcome is Outcome.HELD
    outcome = control.outcome if control else str(verdict.outcome)
    failed = verdict.failed()
    return {
        "scenario": result.scenario.name,
        "slug": result.folder.name,
        "case": result.scenario.model.case,
        "severity": result.scenario.model.severity,
        "control": control is not None,
        "passed": passed,
        "outcome": outcome,
        "reason": mask(control.reason if control else verdict.reason),
        "worst": failed[0].finding.id if failed else "",
        "headline": mask(control.reason if control else _headline(verdict)),
        "recovery": verdict.recovery,
        "sop_recovery": verdict.sop_recovery,
        "evidence": [counted(fault.touched, fault.unit) for fault in verdict.faults],
        "alerts": [life.name for life in incidents(result.history.rows(r.Alert))],
        "sops": [run.sop for run in result.history.rows(r.SopRun) if run.started is not None],
        "requests": verdict.samples,
        "wall": result.wall,
        "attempts": result.attempts,
        "folder": str(result.folder),
        "seed": result.seed,
    }


def of_not_run(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a scenario that failed without being run, of which ``told`` is what is recorded."""
    nothing: dict[str, Any] = {
        "recovery": None,
        "sop_recovery": None,
        "evidence": [],
        "alerts": [],
        "sops": [],
        "requests": 0,
        "attempts": 1,
    }
    return {**told, **nothing, "passed": False, "worst": "", "headline": told["reason"].partition("\n")[0]}


def _headline(verdict: Verdict) -> str:
    """The worst finding; why, where no finding tells (the environment did not start, say)."""
    failed = verdict.failed()
    if not failed:
        return verdict.reason.partition("\n")[0]
    finding = failed[0].finding
    return f"{finding.id}: expected {finding.expected}, seen {finding.seen}".partition("\n")[0]


def recovered(recovery: float | None, sop_recovery: float | None) -> str:
    """When steady state held again, in words. Both are seconds: see :class:`~chaoskit.judge.verdict.Verdict`."""
    if sop_recovery is not None:
        return f"by SOP, {format_duration(sop_recovery)} after the first fault began, which was still active"
    return "never" if recovery is None else f"after {format_duration(recovery)}"


def flat(evidence: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Evidence as pairs: ``{"toxic": {"bytes": 5}}`` as ``toxic.bytes``. What is None was not looked for."""
    for key, value in evidence.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value
