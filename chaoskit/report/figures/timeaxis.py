"""What every panel of the timeline shares: the time axis, the shaded faults, the moment of recovery."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaoskit.report.figures import style
from chaoskit.report.figures.facts import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def prepare(axes: Axes, facts: Facts, panel: str) -> None:
    """Limits, grid and shades. ``panel`` is a word for the ids of the shades."""
    shown = facts.range
    axes.set_xlim(shown.start, shown.end)
    # A grid of ticks costs a third of a figure's time: each is five artists, and only the last panel shows numbers.
    axes.set_xticks([])
    grid = axes.vlines(_marks(facts), 0, 1, transform=axes.get_xaxis_transform(), color=style.PALE, linewidth=0.5)
    grid.set_zorder(0.5)
    axes.tick_params(axis="both", length=2.5, width=0.5, labelsize=style.SMALL)
    for number, span in enumerate(facts.fault_spans, 1):
        # Overlapping faults make a darker shade.
        shade = axes.axvspan(span.start, span.end, facecolor=style.INK, alpha=0.07, edgecolor="none", zorder=0)
        shade.set_gid(f"{_id(panel)}-shade-{number}")
        for edge in (span.start, span.end):
            axes.axvline(edge, color=style.INK, alpha=0.35, linewidth=0.5, linestyle=(0, (2, 2)), zorder=0.5)


def _marks(facts: Facts) -> list[float]:
    """Round seconds within what is shown."""
    from matplotlib.ticker import MaxNLocator

    start, end = facts.range.start, facts.range.end
    marks = MaxNLocator(nbins=14, steps=[1, 2, 5, 10]).tick_values(start, end)
    return [float(mark) for mark in marks if start <= mark <= end]


def recovered(axes: Axes, facts: Facts) -> None:
    """A line at the moment from which on steady state held again."""
    end = facts.view.last_cure
    if end is not None and facts.verdict.recovery is not None:
        axes.axvline(facts.at(end) + facts.verdict.recovery, color=style.GREEN, linewidth=1.0, zorder=0.6)


def _id(words: str) -> str:
    """Words as part of an id in XML."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def numbers(axes: Axes, facts: Facts) -> None:
    """The numbers of the time axis, under the last panel."""
    axes.set_xticks(_marks(facts))
    axes.set_xlabel(
        "seconds since the first fault began" if facts.view.faults else "seconds; 0 is where faults were due"
    )
