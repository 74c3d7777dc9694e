"""What a scenario came to: one outcome, and every finding behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from chaoskit.history import rows as r
from chaoskit.judge.operation_figures import Measured
from chaoskit.language.expectation import Finding, Outcome

ORDER = (Outcome.BROKEN, Outcome.VIOLATED, Outcome.VACUOUS, Outcome.INCONCLUSIVE, Outcome.HELD)
"""From worst to best."""

CAUGHT, NOT_CAUGHT = "caught", "not caught"
"""What becomes of a control; it may be broken or inconclusive, too."""

SERVICES = "services."
"""What the ids of findings on services that ended begin with."""

STEADY_STATE = "steady_state."
"""What the ids of findings on the steady state begin with."""


def urgency(outcome: Outcome, id: str, because: str, asked: bool, line: int) -> tuple[int, bool, bool, bool, int]:
    """Sorts findings that did not hold, worst first: whatever names the worst one goes by it.

    As the outcome is decided: a service that ended by itself, broken, then a steady state that was not met, violated,
    vacuous, inconclusive. Of those alike: what follows from another (``because``) after what does not; a fault without
    evidence before too few samples; what the scenario asks for (``asked``) before what is judged by default; then as
    written (``line``).
    """
    rank = ORDER.index(outcome)
    ill = outcome is Outcome.VIOLATED and id.startswith(STEADY_STATE)  # too few samples do not say so
    if outcome is Outcome.VIOLATED and id.startswith(SERVICES):
        rank = -1
    elif outcome is not Outcome.BROKEN and not ill:
        rank += len(ORDER)
    unproven = outcome is Outcome.VACUOUS and id.startswith("fault.")
    return rank, bool(because), not unproven, not asked, line


@dataclass(frozen=True)
class Judged:
    """A finding, the line of the scenario file behind it, and whether that asks for it: some are judged by default."""

    finding: Finding
    line: int
    asked: bool = True

    def urgency(self) -> tuple[int, bool, bool, bool, int]:
        """Sorts findings that did not hold, worst first."""
        found = self.finding
        return urgency(found.outcome, found.id, found.because, self.asked, self.line)


@dataclass(frozen=True)
class Verdict:
    """The outcome with its reasons. ``recovery`` is seconds from the last cure to steady state, or None.

    ``sop_recovery`` is seconds from the start of the first fault to steady state, where an SOP brought it back while
    the fault was still active (``recovery`` is 0 then, and tells nothing); else None. ``operations`` is what their
    callers saw while a fault was active.
    """

    outcome: Outcome
    reason: str
    findings: Sequence[Judged] = ()
    faults: Sequence[r.Fault] = ()
    recovery: float | None = None
    samples: int = 0
    operations: Mapping[str, Measured] = field(default_factory=dict)
    sop_recovery: float | None = None

    def failed(self) -> list[Judged]:
        """The findings that did not hold, worst first (see :func:`urgency`). The first is the one ``reason`` names."""
        return sorted((judged for judged in self.findings if not judged.finding.held), key=Judged.urgency)

    def violated(self) -> list[str]:
        """Ids of the violated findings."""
        return [judged.finding.id for judged in self.findings if judged.finding.outcome is Outcome.VIOLATED]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain data, durations in seconds."""
        return {
            "outcome": str(self.outcome),
            "reason": self.reason,
            "recovery": self.recovery,
            "sop_recovery": self.sop_recovery,
            "samples": self.samples,
            "findings": [
                {
                    **asdict(judged.finding),
                    "outcome": str(judged.finding.outcome),
                    "line": judged.line,
                    "asked": judged.asked,
                }
                for judged in self.findings
            ],
            "faults": [
                {
                    "name": fault.name,
                    "kind": fault.kind,
                    "target": fault.target,
                    "touched": fault.touched,
                    "unit": fault.unit,
                    "evidence": fault.evidence,
                    "started": fault.started - self.faults[0].started,
                    "ended": fault.ended - self.faults[0].started,
                }
                for fault in self.faults
            ],
            "operations": {op: asdict(measured) for op, measured in self.operations.items()},
        }


def after(verdict: Verdict, attempts: Sequence[Mapping[str, str]], outcome: str = "") -> Verdict:
    """The verdict of a last attempt, its reason with what those before came to (``outcome`` and ``why`` of each)."""
    if not attempts:
        return verdict
    which, *before = attempt(attempts)
    return replace(verdict, reason="; ".join([f"{outcome or verdict.outcome} {which}: {verdict.reason}", *before]))


def attempt(before: Sequence[Mapping[str, str]]) -> list[str]:
    """Which attempt the last one was, and what each of those ``before`` came to."""
    ordinals = [f"{n}{_ORDINALS.get(n, 'th')}" for n in range(1, len(before) + 2)]
    told = [f"the {nth} was {each['outcome']}: {each['why']}" for nth, each in zip(ordinals, before, strict=False)]
    return [f"at the {ordinals[-1]} attempt", *told]


_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True)
class ControlVerdict:
    """Whether a control was caught: the scenario had to be violated where the control names it.

    ``outcome`` is ``caught``, ``not caught``, ``broken`` or ``inconclusive``.
    """

    outcome: str
    reason: str
    verdict: Verdict

    @property
    def caught(self) -> bool:
        """Whether it passes."""
        return self.outcome == CAUGHT

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the verdict."""
        return {"caught": self.caught, "outcome": self.outcome, "reason": self.reason}


def judge_control(verdict: Verdict, violates: Sequence[str]) -> ControlVerdict:
    """A control is caught when every finding it names is violated (a name covers what lies below it)."""
    violated = verdict.violated()
    missed = [name for name in violates if not _names(name, violated)]
    if verdict.outcome is Outcome.BROKEN:
        return ControlVerdict(str(Outcome.BROKEN), f"the control says nothing: {verdict.reason}", verdict)
    disturbed = [judged.finding.id for judged in verdict.findings if judged.finding.outcome is Outcome.INCONCLUSIVE]
    if verdict.outcome is Outcome.INCONCLUSIVE or any(_names(name, disturbed) for name in missed):
        return ControlVerdict(str(Outcome.INCONCLUSIVE), f"the control proves nothing: {verdict.reason}", verdict)
    if missed:
        others = f"; violated was {', '.join(violated)}" if violated else f"; the outcome was {verdict.outcome}"
        return ControlVerdict(NOT_CAUGHT, f"not violated with the protection off: {', '.join(missed)}{others}", verdict)
    if verdict.outcome is not Outcome.VIOLATED:
        return ControlVerdict(NOT_CAUGHT, f"the control proves nothing: {verdict.reason}", verdict)
    return ControlVerdict(CAUGHT, f"caught by {', '.join(violated)}", verdict)


def _names(name: str, ids: Sequence[str]) -> bool:
    """Whether ``name`` is one of the findings ``ids``, or covers one."""
    return any(found == name or found.startswith(name + ".") for found in ids)
