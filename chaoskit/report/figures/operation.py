"""What the callers of one operation saw: latency as points with percentiles, and the share of each kind of answer."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from chaoskit.base.units import format_duration
from chaoskit.expectations._evidence import latency
from chaoskit.expectations._steady import rank
from chaoskit.history import rows as r
from chaoskit.language.samples import PERCENTS
from chaoskit.report.figures import bounds, canvas, style, timeaxis
from chaoskit.report.figures.bounds import Line
from chaoskit.report.figures.buckets import Buckets, share
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VECTOR_POINTS = 1200
"""Points up to which they are drawn as shapes in the SVG; more become one picture, so that the file stays small."""

LOG_FROM = 20.0
"""Highest over lowest latency from which on the axis is logarithmic."""

_LATENCIES = {*PERCENTS, "mean", "max"}
_SHARES = {"success_rate", "error_rate", "fallback_rate"}
_KINDS = (
    ("answered", "o", style.BLUE, 2.6),
    ("fallback", "^", style.ORANGE, 4.0),
    ("failed", "x", style.VERMILLION, 4.2),
)


def kind(request: r.Request) -> str:
    """How a request ended, as it is drawn."""
    return "failed" if not request.ok else "fallback" if request.fallback else "answered"


def panels(facts: Facts, op: str, *, small: bool, vector: bool) -> list[canvas.Panel]:
    """Latency above shares. ``vector``: whether the points are drawn as shapes."""
    requests = facts.view.requests(op)
    inside = [row for row in requests if facts.range.start <= facts.at(row.intended) <= facts.range.end]
    drawing = _Operation(facts, op, inside, vector)
    return [
        canvas.Panel(1.3 if small else 2.0, drawing.latencies),
        canvas.Panel(0.7 if small else 0.95, drawing.shares, gap=0.27),
    ]


class _Operation:
    def __init__(self, facts: Facts, op: str, requests: list[r.Request], vector: bool) -> None:
        self.facts = facts
        self.op = op
        self.requests = requests
        self.vector = vector
        self.buckets = Buckets.over(facts.range, len(requests))

    def latencies(self, axes: Axes) -> None:
        """Points, percentiles, bounds."""
        from matplotlib.patheffects import withStroke

        facts = self.facts
        timeaxis.prepare(axes, facts, f"latency-{self.op}")
        timeaxis.recovered(axes, facts)
        values = [max(latency(row), 1e-6) for row in self.requests]
        lines = bounds.lines(facts, self.op, _LATENCIES)
        self._scale(axes, values, [level for line in lines for level in line.levels])
        for name, marker, colour, size in _KINDS:
            rows = [row for row in self.requests if kind(row) == name]
            if rows:
                axes.plot(
                    [facts.at(row.intended) for row in rows], [max(latency(row), 1e-6) for row in rows],
                    linestyle="none", marker=marker, color=colour, markersize=size, zorder=3,
                    label=f"{name} {len(rows)}", alpha=0.55 if name == "answered" else 0.85, rasterized=not self.vector,
                    markeredgewidth=1.0 if marker == "x" else 0.0,
                )  # fmt: skip
        # So many points that they become a picture hide a line; fewer must not be hidden by its rim.
        casing = [] if self.vector else [withStroke(linewidth=3.0, foreground=style.PAPER, alpha=0.8)]
        slices = [
            sorted(found)
            for found in self.buckets.sort((facts.at(row.intended), latency(row)) for row in self.requests)
        ]
        for percent, colour, line in ((50.0, style.INK, (0, (4, 1.5))), (99.0, style.PURPLE, "solid")):
            figures = [max(rank(found, percent), 1e-6) if found else nan for found in slices]
            axes.plot(
                self.buckets.middles,
                figures,
                color=colour,
                linestyle=line,
                linewidth=1.5,
                zorder=4,
                label=f"p{percent:.0f}",
                path_effects=casing,
            )
        notes = self._draw(axes, lines)
        canvas.title(axes, self.op, f"latency, p50 and p99 per {format_duration(self.buckets.width)}")
        canvas.legend(axes, 5)
        canvas.margin(axes, notes)

    def _scale(self, axes: Axes, values: list[float], lines: list[float]) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

        low, high = min([*values, *lines], default=0.0), max([*values, *lines], default=1.0)
        if low > 0 and high / low >= LOG_FROM:
            axes.set_yscale("log")
            axes.set_ylim(low / 1.4, high * 1.5)
            decades = high / low >= 1e3
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0,) if decades else (1.0, 3.0)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(0, (high or 1.0) * 1.12)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))
        axes.grid(visible=True, axis="y", color=style.PALE, linewidth=0.5)

    def shares(self, axes: Axes) -> None:
        """Kinds of answers, stacked to 100 %."""
        facts = self.facts
        timeaxis.prepare(axes, facts, f"shares-{self.op}")
        timeaxis.recovered(axes, facts)
        axes.set_ylim(0, 1.06)
        axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
        slices = self.buckets.sort((facts.at(row.intended), kind(row)) for row in self.requests)
        base = [0.0 if found else nan for found in slices]
        for (name, _, colour, _), hatch in zip(_KINDS, ("", "\\\\\\\\", "xxxx"), strict=True):
            top = [below + share(found.count(name), len(found)) for below, found in zip(base, slices, strict=True)]
            if any(value > below for value, below in zip(top, base, strict=True)):
                axes.stairs(
                    top, self.buckets.edges, baseline=base, fill=True, facecolor=colour, edgecolor=style.PAPER,
                    linewidth=0, alpha=0.75, hatch=hatch or None, label=name,
                )  # fmt: skip
            base = top
        notes = self._draw(axes, bounds.lines(facts, self.op, _SHARES))
        canvas.title(axes, "", "share of answers")
        canvas.legend(axes, 3)
        canvas.margin(axes, notes)

    def _draw(self, axes: Axes, lines: list[Line]) -> list[tuple[float | None, Note]]:
        """Draw bounds; gives their notes with the heights that they point to."""
        notes: list[tuple[float | None, Note]] = []
        for line in lines:
            levels = line.levels
            if line.metric == "error_rate":
                levels = [1 - level for level in levels]
            if line.metric == "fallback_rate":
                levels = []  # of the successful answers, not of all: no line of this panel
            for level in levels:
                for window, outcome in line.spans:
                    axes.plot(
                        [window.start, window.end], [level, level], color=style.BY_OUTCOME.get(outcome, style.INK),
                        linewidth=1.3, linestyle=(0, (5, 2)), zorder=5,
                    )  # fmt: skip
            notes.append((levels[-1] if levels else None, line.note))
        return notes
