"""What of a scenario's findings only follows from another, where no expectation can tell: it takes all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from chaoskit.judge.verdict import STEADY_STATE, Judged
from chaoskit.language.expectation import Finding, Outcome


def following(findings: Sequence[Judged]) -> list[Judged]:
    """The findings, with ``because`` given to those that follow from another and do not name it themselves.

    Two things take others with them: a steady state that was not met before the first fault, and data that could not
    be read, where several findings say so in the same words. ``findings`` come worst first in what is named.
    """
    ill = _ill(findings)
    unread = _unread(findings)
    return [_because(judged, _cause(judged.finding, ill, unread)) for judged in findings]


def _because(judged: Judged, cause: str) -> Judged:
    finding = judged.finding
    if not cause or cause == finding.id or finding.because:
        return judged
    return dataclasses.replace(judged, finding=dataclasses.replace(finding, because=cause))


def _cause(finding: Finding, ill: dict[str, str], unread: dict[str, str]) -> str:
    if finding.outcome is Outcome.BROKEN:
        return unread.get(finding.seen, "")
    if not ill or finding.held:
        return ""
    violated = finding.outcome is Outcome.VIOLATED
    kind, op, metric = _parts(finding.id)
    first = next(iter(ill.values()))
    match kind:
        case "steady_state":
            return "" if violated else ill.get(op, "")  # what hangs at the end of the phase is no sample
        case "recovery":
            return first if violated else ""
        case "fault":
            return first  # what an ill service does not call cannot be touched
        case "during" | "after":
            # How many requests there are is no matter of the service; how many of them it answers is.
            follows = metric == "fallback_rate" or (violated and metric != "requests")
            return ill.get(op, "") if follows else ""
        case "ledger":
            # Nothing was acknowledged. What was, and is lost, is a matter of its own.
            return "" if violated else ill.get(op, "")
    return ""


def _parts(id: str) -> tuple[str, str, str]:
    """``during.place-order.p99``: kind, operation, figure. The name of an operation may hold anything."""
    kind, _, rest = id.partition(".")
    op, _, figure = rest.rpartition(".")
    return kind, op, figure


def _ill(findings: Sequence[Judged]) -> dict[str, str]:
    """By operation, the finding that says that its steady state was not met. Too few samples do not say so."""
    ill: dict[str, str] = {}
    for finding in _worst_first(findings, Outcome.VIOLATED):
        if finding.id.startswith(STEADY_STATE):
            ill.setdefault(_parts(finding.id)[1], finding.id)
    return ill


def _unread(findings: Sequence[Judged]) -> dict[str, str]:
    """By what is said, the first finding that could not be judged because of it."""
    unread: dict[str, str] = {}
    for finding in _worst_first(findings, Outcome.BROKEN):
        unread.setdefault(finding.seen, finding.id)
    return unread


def _worst_first(findings: Sequence[Judged], outcome: Outcome) -> Iterator[Finding]:
    return (judged.finding for judged in sorted(findings, key=Judged.urgency) if judged.finding.outcome is outcome)
