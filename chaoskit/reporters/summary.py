"""A result in few words: plain data for tables and workers, and the text of a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chaoskit.expectations.base import Outcome
from chaoskit.mask import mask
from chaoskit.units import format_duration

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.engine.verdict import Judged


def of(result: Result) -> dict[str, Any]:
    """The summary of a result: JSON data. ``passed`` is what pytest is told."""
    verdict, control = result.verdict, result.control
    passed = control.caught if control else verdict.outcome is Outcome.HELD
    if control is not None:
        outcome = "caught" if passed else ("broken" if verdict.outcome is Outcome.BROKEN else "not caught")
    else:
        outcome = str(verdict.outcome)
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
        "recovery": verdict.recovery,
        "evidence": [f"{fault.touched} {fault.unit}" for fault in verdict.faults],
        "requests": verdict.samples,
        "wall": result.wall,
        "folder": str(result.folder),
        "seed": result.seed,
    }


def failure(result: Result) -> str:
    """Why it failed: every finding that did not hold, with its line, what was expected, and what was seen.

    It goes to terminals, JUnit and Allure, so secrets (in a service's last log lines, say) are masked.
    """
    return mask("\n".join(_failure(result)))


def _failure(result: Result) -> Iterator[str]:
    verdict, control = result.verdict, result.control
    source = result.scenario.source
    file = source.problem((), "").file
    if control is not None:
        yield f"CONTROL NOT CAUGHT: {result.scenario.name}"
        yield f"{file}:{source.line(('control',))}: {control.reason}"
    else:
        yield f"{str(verdict.outcome).upper()}: {result.scenario.name}"
        if verdict.outcome in (Outcome.BROKEN, Outcome.VACUOUS):
            yield verdict.reason
    lines = source.text.splitlines()
    for judged in verdict.failed():
        yield ""
        yield from _finding(judged, str(file), lines)
    if verdict.faults:
        yield ""
    for fault in verdict.faults:
        facts = ", ".join(f"{key}={value}" for key, value in flat(fault.evidence))
        window = f"{format_duration(fault.injected - fault.started)} to inject, " if fault.injected else ""
        touched = f"{window}touched {fault.touched} {fault.unit} {facts}".rstrip()
        yield f"fault {fault.name} ({fault.kind} on {fault.target}): {touched}"
    if verdict.outcome is Outcome.BROKEN:
        return
    recovery = "never" if verdict.recovery is None else f"after {format_duration(verdict.recovery)}"
    yield f"steady state held again: {recovery};  requests: {verdict.samples};  seed: {result.seed}"
    yield f"history: {result.folder}   (judge it again: chaoskit judge {result.folder})"


def flat(evidence: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Evidence as pairs: ``{"toxic": {"bytes": 5}}`` as ``toxic.bytes``. What is None was not looked for."""
    for key, value in evidence.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _finding(judged: Judged, file: str, lines: list[str]) -> Iterator[str]:
    finding = judged.finding
    yield f"{file}:{judged.line}: {str(finding.outcome).upper()} {finding.id}"
    if 0 < judged.line <= len(lines):
        yield f"    | {lines[judged.line - 1].strip()}"
    yield f"    expected  {finding.expected}"
    yield f"    seen      {finding.seen}"
    yield f"    samples   {finding.samples}"
    if finding.worst:
        yield f"    worst     {finding.worst}"
    if finding.rows:
        shown = ", ".join(finding.rows[:5])
        yield f"    rows      {shown}{' ...' if len(finding.rows) > 5 else ''}"
