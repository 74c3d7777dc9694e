"""The lanes drawn: a bar for what lasted, a mark for what happened, words where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chaoskit.report.figures import canvas, style, text, timeaxis
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Lane, Mark, Span
from chaoskit.report.figures.lanes import lanes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[float, float]
"""From when to when something stands in a lane."""

_BAR = 0.62
_SHORTEST = 0.3
"""Inches below which a cut text says nothing."""

_LOOKS: dict[str, dict[str, Any]] = {
    "phase-0": {"facecolor": "#f0f0f0", "edgecolor": "#bbbbbb"},
    "phase-1": {"facecolor": "#fafafa", "edgecolor": "#bbbbbb"},
    "fault": {"facecolor": "#c9c9c9", "edgecolor": style.INK},
    "fault-without-effect": {"facecolor": style.PAPER, "edgecolor": style.PURPLE, "hatch": "////"},
    "planned": {"facecolor": style.PAPER, "edgecolor": style.INK, "linestyle": (0, (3, 2))},
    "missed": {"facecolor": "#fbe3d6", "edgecolor": style.VERMILLION, "hatch": "\\\\\\\\"},
    "down": {"facecolor": style.VERMILLION, "edgecolor": style.VERMILLION},
    "paused": {"facecolor": style.ORANGE, "edgecolor": style.ORANGE},
    "disturbed": {"facecolor": style.PAPER, "edgecolor": style.MUTED, "hatch": "xxxx"},
    "pending": {"facecolor": style.PAPER, "edgecolor": style.ORANGE, "linestyle": (0, (3, 2))},
    "firing": {"facecolor": "#f7d9a0", "edgecolor": style.ORANGE},
    "other": {"facecolor": style.SKY, "edgecolor": style.BLUE},
}
_EDGED = {"markersize": 7, "markeredgecolor": style.PAPER, "markeredgewidth": 0.7}
_MARKS: dict[str, dict[str, Any]] = {
    "end": {"marker": "X", "color": style.VERMILLION, **_EDGED},
    "start": {"marker": "^", "color": style.BLUE, **_EDGED},
    "recovered": {"marker": "o", "color": style.GREEN},
    "limit": {"marker": "|", "color": style.INK, "markersize": 10, "markeredgewidth": 1.6},
    "other": {"marker": "D", "color": style.PURPLE},
}


def panel(facts: Facts) -> canvas.Panel:
    """All lanes, above each other."""
    lanes = lanes_of(facts)
    return canvas.Panel(canvas.TOP_LINE * max(1, len(lanes)), lambda axes: _draw(axes, facts, lanes), gap=0.1)


def _draw(axes: Axes, facts: Facts, lanes: Sequence[Lane]) -> None:
    timeaxis.prepare(axes, facts, "lanes")
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes)), [text.fit(lane.label, canvas.LEFT - 0.3) for lane in lanes])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for row, lane in enumerate(lanes):
        _lane(axes, facts, row, lane)
        if lane.note is not None:
            canvas.margin_line(axes, 1 - (row + 0.5) / len(lanes), lane.note)


def _lane(axes: Axes, facts: Facts, row: int, lane: Lane) -> None:
    from matplotlib.patches import Rectangle

    shown = facts.range
    scale = (canvas.WIDTH - canvas.LEFT - canvas.RIGHT) / shown.length
    places = [(max(span.start, shown.start), min(span.end, shown.end)) for span in lane.spans]
    taken = places + [(mark.at, mark.at) for mark in lane.marks]
    for span, (start, end) in zip(lane.spans, places, strict=True):
        if span.look == "recovery":
            _measure(axes, start, end, row)
        else:
            # At least two points wide: what was over at once is seen too.
            length = max(end - start, 2 / 72 / scale)
            bar = Rectangle((start, row - _BAR / 2), length, _BAR, linewidth=0.7, **_look(_LOOKS, span.look))
            bar.set_gid(span.id or None)
            axes.add_patch(bar)
        _words(axes, row, span, (start, end), scale, taken, (shown.start, shown.end))
    for mark in lane.marks:
        axes.plot([mark.at], [row], linestyle="none", **{"markersize": 6, **_look(_MARKS, mark.look)})
        _words(axes, row, mark, (mark.at, mark.at), scale, taken, (shown.start, shown.end))


def _look(looks: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    return looks.get(name, looks["other"])


def _measure(axes: Axes, start: float, end: float, row: int) -> None:
    """A length measured out: an arrow between two lines."""
    for edge in (start, end):
        axes.plot([edge, edge], [row - 0.38, row + 0.38], color=style.GREEN, linewidth=1.4)
    arrow = {"arrowstyle": "<|-|>", "color": style.GREEN, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(end, row), xytext=(start, row), arrowprops={**arrow, "mutation_scale": 8})


def _words(
    axes: Axes, row: int, what: Span | Mark, place: Place, scale: float, taken: list[Place], shown: Place
) -> None:
    """The text of a span or mark: inside it, or right of it, or left of it, or cut to what is inside.

    Lengths are seconds, ``scale`` is inches per second; ``taken`` is what already stands in this lane.
    """
    words = text.fit(what.text, 4.0)
    if not words:
        return
    start, end = place
    wide, gap = text.width(words) / scale, 0.08 / scale
    options: dict[str, Any] = {"va": "center_baseline"}
    options["color"] = style.GREEN if what.look in ("recovery", "recovered") else style.INK
    if what.look in ("missed", "fault-without-effect", "disturbed"):
        options["bbox"] = {"boxstyle": "square,pad=0.1", "facecolor": style.PAPER, "edgecolor": "none"}
    marks = [other for other in taken if other != place and start < other[0] and other[1] < end]
    free = (start, min((other[0] for other in marks), default=end))
    inside = what.look != "recovery" and free[1] - free[0] - 2 * gap
    others = [other for other in taken if other != place]
    right, left = (end + gap, end + gap + wide), (start - gap - wide, start - gap)
    if inside >= wide:
        axes.text(sum(free) / 2, row, words, ha="center", **options)
    elif right[1] <= shown[1] and not _meets(right, others):
        axes.text(right[0], row, words, ha="left", **options)
        taken.append(right)
    elif left[0] >= shown[0] and not _meets(left, others):
        axes.text(left[1], row, words, ha="right", **options)
        taken.append(left)
    elif inside * scale >= _SHORTEST:
        axes.text(sum(free) / 2, row, text.fit(words, inside * scale), ha="center", **options)


def _meets(place: Place, others: Sequence[Place]) -> bool:
    return any(start <= place[1] and place[0] <= end for start, end in others)
