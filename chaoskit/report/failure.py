"""The text of a failure, for terminals and JUnit: what failed, under it what only follows from it, where to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chaoskit.base.mask import mask
from chaoskit.base.units import counted, format_duration
from chaoskit.judge.consequences import folded
from chaoskit.judge.verdict import attempt
from chaoskit.language.expectation import Outcome
from chaoskit.report._evidence import counters
from chaoskit.report._hints import circumstances
from chaoskit.report._moments import ZERO, window
from chaoskit.report.summary import heading, recovered

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.history import rows as r
    from chaoskit.judge.verdict import Judged

FINDINGS = 8
"""Findings that are shown whole; ``verdict.json`` has all."""

FACTS = 6
"""Facts of a fault's evidence that are shown; ``faults.jsonl`` has all."""

ROWS = 5
NAMES = 8
LONGEST = 120
"""Characters of a fact or a row."""


def failure(result: Result) -> str:
    """Why it failed: every finding that did not hold, with its line, what was expected, and what was seen.

    It goes to terminals, JUnit and Allure, so secrets (in a service's last log lines, say) are masked.
    """
    return mask("\n".join(_failure(result)))


def _failure(result: Result) -> Iterator[str]:
    verdict, control = result.verdict, result.control
    source = result.scenario.source
    file = str(source.problem((), "").file)
    yield f"{heading(result)}: {result.scenario.name}"
    if control is not None:
        yield f"{file}:{source.line(('control',))}: {control.reason}"
    elif verdict.outcome in (Outcome.BROKEN, Outcome.VACUOUS, Outcome.INCONCLUSIVE):
        yield verdict.reason
    elif before := result.meta.get("attempts"):
        yield "; ".join(attempt(before))
    yield from circumstances(result)
    lines = source.text.splitlines()
    groups = folded(verdict.failed(), lambda judged: judged.finding.id, lambda judged: judged.finding.because)
    for judged, consequences in groups[:FINDINGS]:
        yield ""
        yield from _finding(judged, consequences, file, lines)
    if len(groups) > FINDINGS:
        yield ""
        yield f"(and {counted(len(groups) - FINDINGS, 'findings')} more in verdict.json)"
    if verdict.faults:
        yield ""
        zero = min(fault.started for fault in verdict.faults)
        yield from (_fault(fault, zero) for fault in verdict.faults)
        yield f"({ZERO})"
    if verdict.outcome is not Outcome.BROKEN:
        again = recovered(verdict.recovery, verdict.sop_recovery)
        yield f"steady state held again: {again};  requests: {verdict.samples};  seed: {result.seed}"
    yield f"history: {result.folder}   (judge it again: chaoskit judge {result.folder})"


def _finding(judged: Judged, consequences: Sequence[Judged], file: str, lines: list[str]) -> Iterator[str]:
    finding = judged.finding
    yield f"{file}:{judged.line}: {str(finding.outcome).upper()} {finding.id}"
    if 0 < judged.line <= len(lines):
        yield f"    | {lines[judged.line - 1].strip()}"
    yield f"    expected  {finding.expected}"
    yield f"    seen      {finding.seen}"
    yield f"    samples   {finding.samples}"
    if finding.worst:
        yield f"    worst     {finding.worst}"
    if finding.rows and not finding.id.startswith("fault."):  # the line of the fault tells its evidence
        yield f"    rows      {_first(finding.rows, ROWS, 'in verdict.json')}"
    if consequences:
        names = [each.finding.id for each in consequences]
        yield f"    also      {_first(names, NAMES, 'in verdict.json')} (for the same reason)"


def _fault(fault: r.Fault, zero: float) -> str:
    took = f" ({format_duration(fault.injected - fault.started)} to inject)" if fault.injected else ""
    facts = _first(counters(fault.evidence), FACTS, "in faults.jsonl")
    touched = f"touched {counted(fault.touched, fault.unit)}{f': {facts}' if facts else ''}"
    when = window(fault.started, fault.ended, zero)
    return f"fault {fault.name} ({fault.kind} on {fault.target}): {when}{took}, {touched}"


def _first(texts: Sequence[str], most: int, where: str) -> str:
    """The first of ``texts``, none too long, and how many more there are, and where."""
    # Masked first: of a secret that is cut in two the rest could not be told.
    shown = ", ".join(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in map(mask, texts[:most]))
    return f"{shown} (and {len(texts) - most} more {where})" if len(texts) > most else shown
