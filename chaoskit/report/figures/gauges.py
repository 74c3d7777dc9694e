"""Resources that are judged: samples over time, with the limit and what the finding says."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING

from chaoskit.expectations._samples import Series, dimension, rules_of, show
from chaoskit.expectations.resources import Resources
from chaoskit.history import rows as r
from chaoskit.language.bounds import Bound
from chaoskit.report.figures import canvas, style, timeaxis
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Note, note_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 6
MOST_SAMPLES = 600
_TOLERANCE = {"returns": 0.10, "flat": 0.20}


def panels(facts: Facts) -> list[canvas.Panel]:
    """One panel for each metric that is judged. Process ids are left out: restarts stand in the lanes."""
    asked = [
        (service, metric)
        for planned in facts.scenario.expectations
        if isinstance(planned.expectation, Resources)
        for service, metrics in planned.expectation.root.items()
        for metric in metrics
        if metric != "pid"
    ]
    asked.sort(key=lambda entry: all(finding.held for finding in facts.findings("resources." + ".".join(entry))))
    seen = [entry for entry in asked if any(isfinite(row.value) for row in Series.of(facts.view, *entry).all)]
    return [canvas.Panel(0.75, _Gauge(facts, service, metric).draw) for service, metric in seen[:MOST]]


def thinned(rows: Sequence[r.Sample]) -> list[r.Sample]:
    """At most :data:`MOST_SAMPLES`: of each stretch the lowest and the highest, so that no peak is lost."""
    if len(rows) <= MOST_SAMPLES:
        return list(rows)
    step = -(-2 * len(rows) // MOST_SAMPLES)
    kept: list[r.Sample] = []
    for start in range(0, len(rows), step):
        stretch = rows[start : start + step]
        ends = {id(row): row for row in (min(stretch, key=_value), max(stretch, key=_value))}
        kept += sorted(ends.values(), key=lambda row: row.at)
    return kept


def _value(row: r.Sample) -> float:
    return row.value


class _Gauge:
    def __init__(self, facts: Facts, service: str, metric: str) -> None:
        self.facts = facts
        self.service = service
        self.metric = metric
        self.series = Series.of(facts.view, service, metric)

    def draw(self, axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        facts = self.facts
        timeaxis.prepare(axes, facts, f"gauge-{self.service}-{self.metric}")
        timeaxis.recovered(axes, facts)
        values = [row.value for row in self.series.all if isfinite(row.value)]
        rows = thinned(self.series.all)  # what is infinite leaves a gap
        axes.step(
            [facts.at(row.at) for row in rows], [row.value for row in rows], where="post",
            color=style.BLUE, linewidth=1.4,
        )  # fmt: skip
        notes: list[tuple[float | None, Note]] = []
        limit = self._limit()
        for finding in facts.findings(f"resources.{self.service}.{self.metric}"):
            words = ".".join(finding.id.split(".")[3:])
            notes.append((limit, note_of(finding, " ".join(filter(None, (words, finding.expected))))))
        drawn = values if limit is None else [*values, limit]
        if limit is not None:
            colour = style.BY_OUTCOME[notes[0][1].outcome] if notes else style.INK
            axes.axhline(limit, color=colour, linewidth=1.3, linestyle=(0, (5, 2)))
        low, high = min([*drawn, 0.0]), max(drawn)
        if low >= 0 and min(drawn) > 0.6 * high:
            low = min(drawn) - (high - min(drawn) or high) * 0.3  # a small change on a large figure
        whole = dimension(self.metric) == "number" and all(value == int(value) for value in values)
        if whole:
            high = max(high, low + 1)
        axes.set_ylim(low, high + ((high - low) or 1.0) * 0.15)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=whole))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(self.metric, value).partition(" ")[0]))
        canvas.title(axes, f"{self.service} {self.metric}")
        canvas.margin(axes, notes)

    def _limit(self) -> float | None:
        """The level that the samples are held to, if it is one for the whole time."""
        for planned in self.facts.scenario.expectations:
            if not isinstance(planned.expectation, Resources):
                continue
            spec = planned.expectation.root.get(self.service, {}).get(self.metric)
            if not isinstance(spec, str):  # bounds by time, or of an increase, are no level for the whole of it
                return None
            if spec in _TOLERANCE and self.series.steady:
                limit = self.series.limit(_TOLERANCE[spec])
                return limit if isfinite(limit) else None
            if spec not in rules_of(self.metric):
                high = Bound.parse(spec, dimension(self.metric)).high
                return high if high < inf else None
        return None
