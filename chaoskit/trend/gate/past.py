"""What a run is held against: earlier runs, scenario by scenario (docs/decisions/0012)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from chaoskit.report.runs import Recorded
from chaoskit.report.score import scenario_key, score


@dataclass(frozen=True)
class Earlier:
    """One earlier run. ``commit`` may be empty."""

    id: str
    recorded: Sequence[Recorded]
    commit: str = ""


@dataclass(frozen=True)
class Past:
    """The ``baseline`` runs (newest first), and ``recent`` ones (oldest first, without this run).

    Of the baseline each scenario is held against the newest ``depth`` runs in which it was run (None: all of them).
    ``what`` says what the baseline is; ``commit`` is this run's.
    """

    what: str = ""
    baseline: Sequence[Earlier] = ()
    depth: int | None = None
    recent: Sequence[tuple[str, Mapping[str, str]]] = ()
    commit: str = ""
    notes: Sequence[str] = field(default=())

    def of(self, key: str) -> list[tuple[str, Recorded]]:
        """A scenario's (or control's) runs in the baseline, newest first, with their ids, whatever they came to."""
        found = [
            (run.id, each) for run in self.baseline for each in run.recorded if each.key == key and not each.skipped
        ]
        return found[: self.depth]

    def scores(self, recorded: Sequence[Recorded]) -> tuple[float, float] | None:
        """The score now and in the baseline, both over the scenarios of ``recorded`` that the baseline has.

        The baseline's is the median of the scores when each scenario counts as in its newest run, in the one before,
        and so on; one with fewer runs than others counts on as in its oldest. None without a common scenario.
        """
        runs = {key: self._together(key) for key in {scenario_key(each) for each in recorded if not each.skipped}}
        known = {key: found for key, found in runs.items() if found}
        mine = score([each for each in recorded if scenario_key(each) in known])
        if mine is None:
            return None
        steps = range(max(map(len, known.values())))
        olds = [
            score([each for found in known.values() for each in found[min(step, len(found) - 1)]]) for step in steps
        ]
        return mine, median([old for old in olds if old is not None])

    def _together(self, key: str) -> list[list[Recorded]]:
        """A scenario with its control in each of its runs, newest first."""
        found = [
            [each for each in run.recorded if scenario_key(each) == key and not each.skipped] for run in self.baseline
        ]
        return [run for run in found if run][: self.depth]


NO_PAST = Past()
"""Where there is no history."""


def reaching(
    keys: Collection[str], runs: Sequence[tuple[str, Mapping[str, str]]], depth: int, skipped: str
) -> list[str]:
    """The ids of those of ``runs`` (newest first, outcomes by key) that are among the newest ``depth`` of some key."""
    left = dict.fromkeys(keys, depth)
    needed = []
    for run, outcomes in runs:
        here = [key for key, count in left.items() if count and outcomes.get(key, skipped) != skipped]
        if here:
            needed.append(run)
        for key in here:
            left[key] -= 1
    return needed
