"""The samples of one resource over a run, and the rules a scenario may name for them.

Baseline is the steady phase. ``tail`` is the median of the last three samples after the last fault.

==============  ==================================================================================
rule            holds when
==============  ==================================================================================
``returns``     the tail is at most the baseline's maximum + 10 % + a small slack
``flat``        no sample after the steady phase is above the baseline's maximum + 20 % + the slack
``unchanged``   every sample from the steady phase to the end has the same value
``constant``    the same
``increases``   the counter grew from the end of the steady phase to the end (resets are seen through)
==============  ==================================================================================

The slack allows for what a healthy service does by itself: 3 open files, 2 threads, 8 MB of memory, otherwise
1 for counts, 1 MB for sizes, 50 ms for times, 1 % for ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite

from chaoskit.history import rows as r
from chaoskit.history.windows import Window, inside
from chaoskit.language.bounds import Bound
from chaoskit.language.view import View

PROCESS = ("open_files", "threads", "memory", "cpu", "pid")
"""Figures of a service's process, sampled as ``process.NAME``."""

RULES = ("returns", "flat", "unchanged", "constant", "increases")

TAIL = 3
NEEDED = 2
"""Samples that the baseline and what is compared with it need each."""

_SLACK = {"open_files": 3.0, "threads": 2.0, "memory": 8e6}
_SLACK_OF = {"number": 1.0, "size": 1e6, "duration": 0.05, "ratio": 0.01}
_LEGAL = {"pid": ("unchanged", "constant"), "cpu": ("increases",)}


def rules_of(metric: str) -> tuple[str, ...]:
    """The rules that make sense for a metric: a process id does not return, processor time only grows."""
    return _LEGAL.get(metric, RULES)


def dimension(metric: str) -> str:
    """The dimension of a metric's values, by Prometheus' naming convention."""
    if metric in PROCESS:
        return {"memory": "size", "cpu": "duration"}.get(metric, "number")
    name = metric.partition("{")[0].removesuffix("_total").removesuffix("_sum")
    for unit, kind in (("_bytes", "size"), ("_seconds", "duration"), ("_ratio", "ratio")):
        if name.endswith(unit):
            return kind
    return "number"


def sampled_as(metric: str) -> str:
    """The name of a metric in the history."""
    return f"process.{metric}" if metric in PROCESS else metric


def show(metric: str, value: float) -> str:
    """A value with its unit."""
    if not isfinite(value):
        return f"{value:+}".replace("inf", "Inf")
    if dimension(metric) == "number":
        text = f"{value:.0f}" if value == int(value) else f"{value:.4g}"
        return f"{text} {metric.replace('_', ' ')}" if metric in ("open_files", "threads") else text
    return Bound("", dimension(metric)).show(value)


def spans(view: View) -> dict[str, list[Window]]:
    """The time of each part of a :class:`Series`. What comes after the last phase belongs to the clearing up."""
    steady = view.phases.get("steady")
    end = max((phase.end for phase in view.phases.values()), default=inf)
    lifted = view.last_fault_end if view.last_fault_end is not None else end
    return {
        "all": [Window(-inf, end)],
        "steady": [steady] if steady else [],
        "later": [Window(steady.end, end)] if steady else [],
        "during": view.fault_windows,
        "after": [Window(lifted, end)],
    }


@dataclass(frozen=True)
class Series:
    """All samples of one metric of one service: in the steady phase, after it, during faults, after the last."""

    metric: str
    all: Sequence[r.Sample]
    steady: Sequence[r.Sample]
    later: Sequence[r.Sample]
    during: Sequence[r.Sample]
    after: Sequence[r.Sample]

    @classmethod
    def of(cls, view: View, service: str, metric: str) -> Series:
        """The samples in the view."""
        rows = view.samples(service, sampled_as(metric))
        return cls(metric, *([row for row in rows if inside(row.at, windows)] for windows in spans(view).values()))

    def undoubted(self, view: View) -> Series:
        """Without the samples that the machine could have made what they are. Memory that was taken while it was in the
        way may be kept: so neither with those that come later and are no larger."""
        kept = -inf
        left: list[r.Sample] = []
        for row in self.all:
            if view.doubted_at(row.at):
                kept = max(kept, row.value)
            elif dimension(self.metric) != "size" or row.value > kept:
                left.append(row)
        if len(left) == len(self.all):
            return self
        parts = (self.all, self.steady, self.later, self.during, self.after)
        return Series(self.metric, *([row for row in rows if row in left] for rows in parts))

    @property
    def slack(self) -> float:
        """What the metric may differ by without meaning anything, in its base unit."""
        return _SLACK.get(self.metric, _SLACK_OF[dimension(self.metric)])

    def limit(self, share: float) -> float:
        """The baseline's maximum with a tolerance of ``share``, and the slack."""
        top = max(row.value for row in self.steady)
        return top + abs(top) * share + self.slack

    @property
    def tail(self) -> Sequence[r.Sample]:
        """The last samples after the last fault."""
        return self.after[-TAIL:]

    @property
    def settled(self) -> float:
        """The median of the tail."""
        return statistics.median(row.value for row in self.tail)

    @property
    def increase(self) -> float:
        """How much a counter grew since the last sample of the steady phase. One that fell was reset: a restarted
        process counts from 0."""
        values = [row.value for row in (*self.steady[-1:], *self.later)]
        grown = ((after - before if after > before else after) for before, after in pairwise(values) if after != before)
        return sum(grown, 0.0)
