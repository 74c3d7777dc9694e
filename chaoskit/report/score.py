"""The stability score: the share of what was rehearsed that held, weighted by severity (docs/score.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from chaoskit.report.runs import UNKNOWN, Recorded

WEIGHTS = {"blocker": 16, "critical": 8, "normal": 4, "minor": 2, "trivial": 1}
"""Each severity counts twice the one below it."""


def weight(severity: str) -> int:
    """Of a severity. One that is unknown may be any, so it weighs as much as the gravest."""
    return max(WEIGHTS.values()) if severity == UNKNOWN else WEIGHTS[severity]


@dataclass(frozen=True)
class Weighed:
    """A scenario together with its control, and what it weighs. ``held`` is true when all that was run of it passed."""

    key: str
    name: str
    severity: str
    held: bool

    @property
    def weight(self) -> int:
        """Of its severity."""
        return weight(self.severity)


def weigh(recorded: Sequence[Recorded]) -> list[Weighed]:
    """What counts, by key. A scenario that was skipped is left out; so is a control that was, without its scenario."""
    together: dict[str, list[Recorded]] = {}
    for each in recorded:
        if not each.skipped:
            together.setdefault(scenario_key(each), []).append(each)
    return [
        Weighed(
            key=key,
            name=min((each.name for each in found), key=len).removesuffix("--control"),
            # A control has its scenario's severity; recordings that differ count as the graver one.
            severity=max((each.severity for each in found), key=weight),
            held=all(each.passed for each in found),
        )
        for key, found in sorted(together.items())
    ]


def scenario_key(recorded: Recorded) -> str:
    """The key of a scenario, also for its control."""
    return recorded.key.removesuffix("--control") if recorded.control else recorded.key


def score(recorded: Sequence[Recorded]) -> float | None:
    """0 to 100: ``100 * weight of what held / weight of all``. None when nothing was run: that is no score."""
    units = weigh(recorded)
    total = sum(unit.weight for unit in units)
    return 100 * sum(unit.weight for unit in units if unit.held) / total if total else None


def told(value: float | None) -> str:
    """``97.4``; rounded down, so that only a perfect score reads 100. ``-`` for none."""
    if value is None:
        return "-"
    return f"{floor(value * 10 + 1e-9) / 10:g}"
