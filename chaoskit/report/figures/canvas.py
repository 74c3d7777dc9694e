"""A page of panels under each other on one time axis, with a margin of notes at the right; and its two files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaoskit.report.figures import style, text
from chaoskit.report.figures.lane import Note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

WIDTH = 12.0
LEFT = 1.5
RIGHT = 3.1
TOP_LINE = 0.24
"""Inches, as are all lengths here."""

_EDGE = 0.18
_LINE = 0.165
_DPI = 120


@dataclass(frozen=True)
class Panel:
    """Something drawn into axes of ``height`` inches, with ``gap`` inches above for its title."""

    height: float
    draw: Callable[[Axes], None]
    gap: float = 0.34


@dataclass(frozen=True)
class Header:
    """What stands above the panels."""

    outcome: str
    title: str
    lines: Sequence[tuple[str, str]]
    """Lines of text with their colours."""

    @property
    def height(self) -> float:
        """Inches."""
        return _EDGE + 0.3 + 0.18 * len(self.lines)


def page(header: Header, panels: Sequence[Panel], *, bottom: float = 0.5) -> Figure:
    """The drawn figure. To be called with :func:`style.applied` in force."""
    from matplotlib.figure import Figure

    height = header.height + sum(panel.gap + panel.height for panel in panels) + bottom
    figure = Figure(figsize=(WIDTH, height))
    _head(figure, header, height)
    top = height - header.height
    for panel in panels:
        top -= panel.gap + panel.height
        box = (LEFT / WIDTH, top / height, (WIDTH - LEFT - RIGHT) / WIDTH, panel.height / height)
        panel.draw(figure.add_axes(box))
    return figure


def _head(figure: Figure, header: Header, height: float) -> None:
    colour = style.BY_OUTCOME[header.outcome]
    badge = f"{style.SIGN[header.outcome]} {header.outcome.upper()}"
    left, top = _EDGE, height - _EDGE - 0.1
    room = text.width(badge, style.NORMAL, bold=True) + 0.16
    figure.text(
        (left + room / 2) / WIDTH, top / height, badge, size=style.NORMAL, weight="bold", color=style.PAPER,
        ha="center", va="center", bbox={"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "none"},
    )  # fmt: skip
    start = left + room + 0.14
    title = text.fit(header.title, WIDTH - start - _EDGE, style.LARGE, bold=True)
    figure.text(start / WIDTH, top / height, title, size=style.LARGE, weight="bold", va="center_baseline")
    for number, (line, ink) in enumerate(header.lines, 1):
        y = top - 0.1 - 0.18 * number
        shown = text.fit(line, WIDTH - 2 * _EDGE, style.NORMAL)
        figure.text(left / WIDTH, y / height, shown, size=style.NORMAL, color=ink, va="baseline")


def title(axes: Axes, words: str, detail: str = "") -> None:
    """The title of a panel, left above it; the legend stands at the right of the same line."""
    after = 0.0
    if words:
        words = text.fit(words, 3.2, style.NORMAL, bold=True)
        axes.text(0, 1, words, transform=_above(axes, 0, 5), size=style.NORMAL, weight="bold", va="bottom")
        after = (text.width(words, style.NORMAL, bold=True) + 0.08) * 72
    if detail:
        axes.text(0, 1, detail, transform=_above(axes, after, 5), size=style.SMALL, color=style.MUTED, va="bottom")


def _above(axes: Axes, right: float, up: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    assert axes.figure is not None
    return axes.transAxes + ScaledTranslation(right / 72, up / 72, axes.figure.dpi_scale_trans)


def legend(axes: Axes, columns: int) -> None:
    """The legend, right above a panel, where no point can lie under it."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, fontsize=style.SMALL,
        borderaxespad=0.2, handlelength=1.6, columnspacing=1.3, markerscale=1.25, handletextpad=0.5,
    )  # fmt: skip


def margin(axes: Axes, notes: Sequence[tuple[float | None, Note]]) -> None:
    """Notes at the right of a panel, each at its height (in data) if it has one, none over another.

    What does not fit is counted; notes that failed are never among those left out for ones that held.
    """
    tall = _size(axes)[1]
    most = max(1, int(tall / _LINE + 0.35))
    ordered = sorted(notes, key=lambda entry: entry[1].outcome in ("held", ""))
    shown, rest = ordered[:most], ordered[most:]
    if rest:
        rest = [shown.pop(), *rest]
        outcome = next((note.outcome for _, note in rest if note.outcome not in ("held", "")), "")
        shown.append((None, Note(f"and {len(rest)} more", outcome)))
    placed = sorted(((_height(axes, at), index) for index, (at, _) in enumerate(shown)), key=lambda entry: -entry[0])
    heights = _spread([y for y, _ in placed], _LINE / tall)
    for y, (wanted, index) in zip(heights, placed, strict=True):
        at, note = shown[index]
        margin_line(axes, y, note)
        if at is not None:
            colour = style.BY_OUTCOME.get(note.outcome, style.INK)
            axes.plot(
                [1.0, 1.0 + 0.16 / _size(axes)[0]], [wanted, y], transform=axes.transAxes, color=colour,
                linewidth=0.6, clip_on=False,
            )  # fmt: skip


def margin_line(axes: Axes, y: float, note: Note) -> None:
    """One note at the right of a panel; ``y`` is 0 at its bottom and 1 at its top."""
    sign = f"{style.SIGN[note.outcome]} " if note.outcome else ""
    words = text.fit(sign + note.text.replace(">=", "≥").replace("<=", "≤"), RIGHT - 0.35)
    colour = style.BY_OUTCOME.get(note.outcome, style.INK)
    axes.text(1.0 + 0.2 / _size(axes)[0], y, words, transform=axes.transAxes, color=colour, va="center_baseline")


def _size(axes: Axes) -> tuple[float, float]:
    """Width and height in inches."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position()
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def _height(axes: Axes, at: float | None) -> float:
    """Where a value of the y-axis lies between 0 (bottom) and 1 (top)."""
    if at is None:
        return 1.0
    point = axes.transAxes.inverted().transform(axes.transData.transform((0.0, at)))
    return min(1.0, max(0.0, float(point[1])))


def _spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Heights in falling order, moved as little as needed so that neighbours are ``apart``."""
    heights: list[float] = []
    for y in wanted:
        heights.append(min(y, heights[-1] - apart) if heights else min(y, 1.0))
    low = 0.0
    for index in range(len(heights) - 1, -1, -1):
        heights[index] = max(heights[index], low)
        low = heights[index] + apart
    return heights


def files(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as SVG and as PNG. The same figure gives the same bytes."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", dpi=144, metadata={"Date": None, "Creator": "chaoskit"})
    figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return svg.getvalue(), png.getvalue()
