"""How a service retried: the attempts of each call, the pauses between them, how many there were."""

from __future__ import annotations

import statistics
from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._attempts import Attempts
from chaoskit.expectations.retries import Retries
from chaoskit.language.bounds import Bound
from chaoskit.report.figures import canvas, style
from chaoskit.report.figures.dependency import ending, retry_notes
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CALLS = 30
MOST_PAUSES = 6
MOST_POINTS = 1500

_COLOURS = {"answered": style.BLUE, "5xx": style.ORANGE, "no answer": style.VERMILLION}


def draw(facts: Facts) -> Figure:
    """The figure. To be called with :func:`style.applied` in force."""
    from chaoskit.report.figures.timeline import header

    panels: list[canvas.Panel] = []
    for planned in facts.scenario.expectations:
        if isinstance(planned.expectation, Retries):
            panels += _panels(facts, planned.expectation)
    return canvas.page(header(facts), panels)


def _panels(facts: Facts, asked: Retries) -> list[canvas.Panel]:
    seen = asked.seen(facts.view)
    notes = [(None, note) for note in retry_notes(facts, asked.on)]
    retried = [call for call in seen if len(call.exchanges) > 1]
    shown = _evenly(retried or seen, MOST_CALLS)
    bars = canvas.Panel(
        max(0.8, 0.11 * len(shown) + 0.1), partial(_bars, asked=asked, shown=shown, of=retried or seen, notes=notes)
    )
    counts = canvas.Panel(1.2, partial(_counts, asked=asked, seen=seen), gap=0.75)
    paused = [call for call in retried if call.pauses]
    if not paused:
        return [bars, counts]
    return [bars, canvas.Panel(2.0, partial(_pauses, asked=asked, paused=paused), gap=0.75), counts]


def _evenly(calls: list[Attempts], most: int) -> list[Attempts]:
    """At most so many calls, from the first to the last."""
    if len(calls) <= most:
        return calls
    return [calls[round(index * (len(calls) - 1) / (most - 1))] for index in range(most)]


def _bars(
    axes: Axes, asked: Retries, shown: list[Attempts], of: list[Attempts], notes: list[tuple[None, Note]]
) -> None:
    """One line for each call, from the start of its first attempt on."""
    from matplotlib.collections import PolyCollection

    by_end: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in _COLOURS}
    spans = [call.exchanges[-1].ended - call.exchanges[0].started for call in shown]
    longest = max(spans, default=0.0) or 1.0
    for row, call in enumerate(shown):
        zero = call.exchanges[0].started
        for exchange in call.exchanges:
            start = exchange.started - zero
            end = max(exchange.ended - zero, start + longest / 200)  # wide enough to be seen
            low, high = row - 0.4, row + 0.4
            by_end[ending(exchange)].append([(start, low), (end, low), (end, high), (start, high)])
    for name, boxes in by_end.items():
        if boxes:
            drawn = PolyCollection(
                boxes, facecolor=_COLOURS[name], edgecolor=style.PAPER, linewidth=0.4, label=name,
                hatch="xxxx" if name == "no answer" else None,
            )  # fmt: skip
            axes.add_collection(drawn)
    axes.set_xlim(-0.01 * longest, longest * 1.02)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_yticks([])
    _seconds(axes, "x")
    axes.set_xlabel("since the call's first attempt; the gaps are what the back-off waited")
    axes.set_ylabel("calls")
    much = f"{len(shown)} of {len(of)} calls" if len(shown) < len(of) else counted(len(of), "calls")
    retried = any(len(call.exchanges) > 1 for call in of)
    canvas.title(
        axes, f"attempts at {asked.on}", f"{much} {'tried more than once' if retried else 'seen, none retried'}"
    )
    if shown:
        canvas.legend(axes, 3)
    else:
        axes.text(0.5, 0.5, "no call was seen", transform=axes.transAxes, ha="center", va="center", color=style.MUTED)
    canvas.margin(axes, notes)


def _pauses(axes: Axes, asked: Retries, paused: list[Attempts]) -> None:
    """The first pauses, the second ..., with median, p10 to p90, and where the bounds put them."""
    most = min(MOST_PAUSES, max(len(call.pauses) for call in paused))
    notes: list[tuple[float | None, Note]] = []
    high = 0.0
    first: float | None = None
    for number in range(most):
        values = sorted(call.pauses[number] for call in paused if len(call.pauses) > number)
        middle = statistics.median(values)
        first = first if first is not None else middle
        high = max(high, values[-1])
        shown = values[:: -(-len(values) // (MOST_POINTS // most))]
        # Spread by the golden ratio: no two beside each other fall on one another, and no chance is needed.
        axes.plot(
            [number + 1 + 0.5 * ((index * 0.618034) % 1 - 0.5) for index in range(len(shown))], shown,
            linestyle="none", marker="o", markersize=2.6, markeredgewidth=0, color=style.BLUE, alpha=0.6, zorder=3,
        )  # fmt: skip
        axes.plot([number + 0.7, number + 1.3], [middle, middle], color=style.INK, linewidth=2, zorder=4)
        told = f"pause {number + 1}: {format_duration(middle)}"
        if len(values) > 1:
            deciles = statistics.quantiles(values, n=10, method="inclusive")
            x = number + 0.66
            axes.plot([x, x], [deciles[0], deciles[8]], color=style.INK, linewidth=1.2, marker="_", zorder=4)
            told += f" · p10–p90 {format_duration(deciles[0])}–{format_duration(deciles[8])}"
        notes.append((None, Note(told)))
        backoff = asked.backoff
        bound = backoff and (backoff.first if number == 0 else backoff.factor if number == 1 else None)
        if isinstance(bound, Bound):
            scale = 1.0 if number == 0 else first
            low, top = max(bound.low, 0.0) * scale, bound.high * scale
            high = max(high, top if top < inf else low)
            axes.bar(
                number + 1, (top if top < inf else 1e9) - low, 0.6, low, facecolor=style.GREEN, alpha=0.16, zorder=1,
                edgecolor=style.GREEN, label=f"first {bound}" if number == 0 else f"factor: first median × {bound}",
            )  # fmt: skip
    axes.set_xlim(0.4, most + 0.6)
    axes.set_ylim(0, (high or 1) * 1.1)
    axes.set_xticks(range(1, most + 1), [f"pause {number}" for number in range(1, most + 1)])
    _seconds(axes, "y")
    canvas.title(
        axes, "pauses", "from the end of an attempt to the start of the next; line: median, bracket: p10 to p90"
    )
    if axes.get_legend_handles_labels()[0]:
        canvas.legend(axes, 2)
    canvas.margin(axes, notes)


def _counts(axes: Axes, asked: Retries, seen: list[Attempts]) -> None:
    """How many calls took one attempt, two, ..."""
    from matplotlib.ticker import MaxNLocator

    counts = Counter(call.least for call in seen)
    bound = asked.attempts
    limits = [edge for edge in (bound.low, bound.high) if abs(edge) < inf] if bound else []
    most = int(max([*counts, *limits, 3]))
    for count, number in sorted(counts.items()):
        inside = bound is None or bound.holds(count)
        axes.bar(
            count,
            number,
            0.7,
            color=style.BLUE if inside else style.VERMILLION,
            hatch=None if inside else "xxxx",
            edgecolor=style.PAPER,
            linewidth=0,
        )
        axes.annotate(str(number), (count, number), (0, 2), textcoords="offset points", ha="center", va="bottom")
    if bound is not None:
        low, high = bound.low - 0.5, bound.high + 0.5
        for edge in (low, high):
            if abs(edge) < inf:
                axes.axvline(edge, color=style.INK, linewidth=1.3, linestyle=(0, (5, 2)))
    axes.set_xlim(0.4, most + 0.8)
    axes.set_ylim(0, max([*counts.values(), 1]) * 1.2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.tick_params(axis="both", length=2.5, width=0.5, labelsize=style.SMALL)
    axes.set_xlabel("attempts")
    canvas.title(axes, "calls by attempts", f"{counted(len(seen), 'calls')} in all")
    canvas.margin(axes, [(None, Note(f"bound: {bound}"))] if bound else [])


def _seconds(axes: Axes, which: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=8 if which == "x" else 4))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))
    axes.tick_params(axis="both", length=2.5, width=0.5, labelsize=style.SMALL)
    axes.grid(visible=True, axis="x" if which == "x" else "y", color=style.PALE, linewidth=0.5)
