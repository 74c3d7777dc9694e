"""What changed between two runs, scenario by scenario, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from chaoskit.base.errors import ChaosError, unknown
from chaoskit.base.units import format_duration
from chaoskit.judge.operation_figures import Measured, share_over
from chaoskit.language.bounds import BoundError, resolved
from chaoskit.report.runs import Recorded
from chaoskit.report.score import score
from chaoskit.report.sources import differing

ALL = "*"
"""Stands for every operation among limits."""

_PERCENTS = ("max", "p999", "p99", "p95", "p90", "p75", "p50")
_NOISE = 0.1
_NOISE_SECONDS = 0.02
_NOISE_SHARE = 0.005

Direction = Literal["better", "worse", "same", ""]


@dataclass(frozen=True)
class Figure:
    """One figure before and after; None where it was not measured. ``kind`` is ``duration`` (seconds) or ``share``.

    ``wanted`` is where it should go: ``up``, ``down``, or empty where neither is better in itself.
    """

    name: str
    kind: Literal["duration", "share"]
    wanted: Literal["up", "down", ""]
    before: float | None
    after: float | None

    @property
    def direction(self) -> Direction:
        """``same`` within a tenth and 20 ms, or half a percentage point: two runs of one build differ by as much."""
        if self.before is None or self.after is None:
            return ""
        step = self.after - self.before
        noise = max(_NOISE * abs(self.before), _NOISE_SECONDS) if self.kind == "duration" else _NOISE_SHARE
        if abs(step) <= noise:
            return "same"
        if not self.wanted:
            return ""
        return "better" if (step > 0) == (self.wanted == "up") else "worse"


@dataclass(frozen=True)
class Change:
    """A scenario (or control) in both runs. An outcome is None where the run did not have it.

    ``differs`` are the keys in which its file was not the same (None where that is not known any more).
    """

    key: str
    name: str
    scenario: str
    severity: str
    control: bool
    before: str | None
    after: str | None
    reason: str
    recovery: Figure
    operations: Mapping[str, Sequence[Figure]]
    differs: Sequence[str] | None = None

    @property
    def direction(self) -> Direction:
        """Of the outcome."""
        ranks = [_rank(outcome) for outcome in (self.before, self.after) if outcome not in (None, "skipped")]
        if len(ranks) < 2:
            return ""
        return "same" if ranks[0] == ranks[1] else "better" if ranks[1] > ranks[0] else "worse"

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Every figure with its operation; the recovery's is empty."""
        yield "", self.recovery
        for op, figures in self.operations.items():
            for figure in figures:
                yield op, figure


@dataclass(frozen=True)
class Comparison:
    """Two runs. ``before`` and ``after`` are what they are called."""

    before: str
    after: str
    score_before: float | None
    score_after: float | None
    changes: Sequence[Change]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: seconds, shares from 0 to 1."""
        return {
            "before": {"run": self.before, "score": self.score_before},
            "after": {"run": self.after, "score": self.score_after},
            "scenarios": [
                {
                    **{name: getattr(change, name) for name in ("key", "name", "scenario", "severity", "control")},
                    "outcome": {"before": change.before, "after": change.after, "direction": change.direction},
                    "reason": change.reason,
                    "scenario_differs": change.differs,
                    "recovery": _plain(change.recovery),
                    "operations": {
                        op: {figure.name: _plain(figure) for figure in figures}
                        for op, figures in change.operations.items()
                    },
                }
                for change in self.changes
            ],
        }


def compare(
    before: tuple[str, Sequence[Recorded]],
    after: tuple[str, Sequence[Recorded]],
    limits: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare two runs, each given with its name.

    ``limits`` are seconds by operation (or ``*``) for the share of requests that took longer; where none is given it
    is the scenario's own limit for that operation. Raises ChaosError for an operation that neither run has.
    """
    _check(limits or {}, [*before[1], *after[1]])
    changes = [_change(old, new, limits or {}) for old, new in _pairs(before[1], after[1])]
    order = {"worse": 0, "better": 1, "": 2, "same": 3}
    changes.sort(key=lambda change: (change.control, order[change.direction], change.key))
    return Comparison(before[0], after[0], score(before[1]), score(after[1]), changes)


def _pairs(before: Sequence[Recorded], after: Sequence[Recorded]) -> Iterator[tuple[Recorded | None, Recorded | None]]:
    """By key; what is left (a file that was moved, a run without node ids) by name, if that is clear."""
    old, new = {each.key: each for each in before}, {each.key: each for each in after}
    for key in sorted(old.keys() & new.keys()):
        yield old.pop(key), new.pop(key)
    for each in list(old.values()):
        same = [other for other in new.values() if other.name == each.name]
        if len(same) == 1 and sum(other.name == each.name for other in old.values()) == 1:
            yield old.pop(each.key), new.pop(same[0].key)
    yield from ((each, None) for each in old.values())
    yield from ((None, each) for each in new.values())


def _change(before: Recorded | None, after: Recorded | None, limits: Mapping[str, float]) -> Change:
    one = after or before
    assert one is not None
    ops = {op: None for each in (before, after) if each is not None for op in each.operations}
    return Change(
        key=one.key,
        name=one.name,
        scenario=one.scenario,
        severity=one.severity,
        control=one.control,
        before=before.outcome if before else None,
        after=after.outcome if after else None,
        reason=after.reason if after and not after.passed else "",
        recovery=Figure(
            "recovery", "duration", "down", before.recovery if before else None, after.recovery if after else None
        ),
        operations={op: list(_operation(op, before, after, limits)) for op in ops},
        differs=differing(before.folder, after.folder, control=one.control) if before and after else None,
    )


def _operation(
    op: str, before: Recorded | None, after: Recorded | None, limits: Mapping[str, float]
) -> Iterator[Figure]:
    old = before.operations.get(op) if before else None
    new = after.operations.get(op) if after else None

    def pair(name: str) -> tuple[float | None, float | None]:
        return (getattr(old, name) if old else None), (getattr(new, name) if new else None)

    yield Figure("success", "share", "up", *pair("success"))
    yield Figure("p50", "duration", "down", *pair("p50"))
    yield Figure("p99", "duration", "down", *pair("p99"))
    fallback = Figure("fallback", "share", "", *pair("fallback"))
    if fallback.before or fallback.after:
        yield fallback
    limit = limits.get(op, limits.get(ALL, own_limit(op, after, before)))
    if limit is not None:
        yield Figure(f"over {format_duration(limit)}", "share", "down", _over(old, limit), _over(new, limit))


def own_limit(op: str, *recorded: Recorded | None) -> float | None:
    """Seconds that the scenario itself allows this operation under the faults (else in steady state), or None."""
    for phase in ("during", "steady_state"):
        for metric in _PERCENTS:
            for each in recorded:
                for finding in each.findings if each else ():
                    if finding["id"] == f"{phase}.{op}.{metric}" and (limit := _high(finding["expected"])) is not None:
                        return limit
    return None


def _high(text: str) -> float | None:
    try:
        high = resolved(text, "duration").high
    except BoundError:
        return None
    return high if isfinite(high) else None


def _over(measured: Measured | None, limit: float) -> float | None:
    try:
        return share_over(measured.histogram, limit) if measured else None
    except ValueError:
        return None  # kept by a version that had none, or damaged: not measured


def _rank(outcome: str | None) -> int:
    return {"held": 3, "caught": 3, "violated": 2, "not caught": 2, "vacuous": 1, "inconclusive": 1}.get(
        outcome or "", 0
    )


def _plain(figure: Figure) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(figure).items() if key in ("before", "after")}
    return {**plain, "direction": figure.direction or None}


def _check(limits: Mapping[str, float], recorded: Sequence[Recorded]) -> None:
    ops = {op for each in recorded for op in each.operations}
    for op in limits:
        if op != ALL and op not in ops:
            raise ChaosError(unknown("operation", op, ops))
