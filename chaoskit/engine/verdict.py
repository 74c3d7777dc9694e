"""What a scenario came to: one outcome, and every finding behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chaoskit.engine.measured import Measured
from chaoskit.expectations.base import Finding, Outcome
from chaoskit.history import rows as r


@dataclass(frozen=True)
class Judged:
    """A finding, and the line of the scenario file that asked for it."""

    finding: Finding
    line: int


@dataclass(frozen=True)
class Verdict:
    """The outcome with its reasons. ``recovery`` is seconds from the last cure to steady state, or None.

    ``operations`` is what their callers saw while a fault was active.
    """

    outcome: Outcome
    reason: str
    findings: Sequence[Judged] = ()
    faults: Sequence[r.Fault] = ()
    recovery: float | None = None
    samples: int = 0
    operations: Mapping[str, Measured] = field(default_factory=dict)

    def failed(self) -> list[Judged]:
        """The findings that did not hold, worst first."""
        order = {Outcome.BROKEN: 0, Outcome.VIOLATED: 1, Outcome.VACUOUS: 2}
        return sorted(
            (judged for judged in self.findings if not judged.finding.held),
            key=lambda judged: (order[judged.finding.outcome], judged.line),
        )

    def violated(self) -> list[str]:
        """Ids of the violated findings."""
        return [judged.finding.id for judged in self.findings if judged.finding.outcome is Outcome.VIOLATED]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: plain data, durations in seconds."""
        return {
            "outcome": str(self.outcome),
            "reason": self.reason,
            "recovery": self.recovery,
            "samples": self.samples,
            "findings": [
                {**asdict(judged.finding), "outcome": str(judged.finding.outcome), "line": judged.line}
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


@dataclass(frozen=True)
class ControlVerdict:
    """Whether a control was caught: the scenario had to be violated where the control names it."""

    caught: bool
    reason: str
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the verdict."""
        return {"caught": self.caught, "reason": self.reason}


def judge_control(verdict: Verdict, violates: Sequence[str]) -> ControlVerdict:
    """A control is caught when every finding it names is violated (a name covers what lies below it)."""
    violated = verdict.violated()
    missed = [name for name in violates if not any(found == name or found.startswith(name + ".") for found in violated)]
    if verdict.outcome is Outcome.BROKEN:
        return ControlVerdict(False, f"the control says nothing: {verdict.reason}", verdict)
    if missed:
        others = f"; violated was {', '.join(violated)}" if violated else f"; the outcome was {verdict.outcome}"
        return ControlVerdict(False, f"not violated with the protection off: {', '.join(missed)}{others}", verdict)
    if verdict.outcome is not Outcome.VIOLATED:
        return ControlVerdict(False, f"the control proves nothing: {verdict.reason}", verdict)
    return ControlVerdict(True, f"caught by {', '.join(violated)}", verdict)
