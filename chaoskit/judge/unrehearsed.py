"""What is not met only because the faults touched nothing: it is not met without any fault either."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import msgspec

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

_OF_FAULTS = {"during", "responses", "logs", "retries", "breaker", "alerts", "sop"}
"""Kinds of findings on what happens while a fault is active."""
_NEVER = {"no_internals", "no_secret", "secrets", "absent", "with"}
"""What may not be at any time: it is wrong without a fault, too."""


def unrehearsed(judge: Callable[[View], Iterable[Finding]], view: View, findings: Sequence[Finding]) -> list[Finding]:
    """The findings that ``judge`` gave; where no fault touched anything, those that tell no more than that are vacuous.

    They are judged again as if the faults had been active in the steady phase. What is violated there just so asks for
    what a fault was to bring about (errors, fallbacks, a slower median), and follows from the fault without evidence.
    What was fine before, and is not now, is a violation of the service, whatever the fault did.
    """
    steady = view.phases.get("steady")
    if steady is None or not view.faults or any(fault.touched for fault in view.faults):
        return list(findings)
    if not any(map(_may_follow, findings)):
        return list(findings)
    before = History()
    for kind in r.KINDS.values():
        for row in view.history.rows(kind):
            if isinstance(row, r.Fault):
                row = msgspec.structs.replace(
                    row, planned_start=steady.start, planned_end=steady.end, started=steady.start,
                    injected=steady.start, ended=steady.end,
                )  # fmt: skip
            before.add(row)
    without = judge(dataclasses.replace(view, history=before))
    same = {finding.id for finding in without if finding.outcome is Outcome.VIOLATED}
    cause = f"fault.{view.faults[0].name}"
    return [
        dataclasses.replace(
            finding, outcome=Outcome.VACUOUS, seen=f"{finding.seen}, as without the fault", because=cause
        )
        if _may_follow(finding) and finding.id in same
        else finding
        for finding in findings
    ]


def _may_follow(finding: Finding) -> bool:
    parts = finding.id.split(".")
    return finding.outcome is Outcome.VIOLATED and parts[0] in _OF_FAULTS and parts[-1] not in _NEVER
