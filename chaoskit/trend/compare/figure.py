"""A comparison as a figure: one row for each scenario and operation, before and after joined by a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaoskit.base.units import format_duration, format_ratio
from chaoskit.report.figures import canvas, style, text
from chaoskit.report.score import told
from chaoskit.trend.compare.changes import Change, Comparison, Figure
from chaoskit.trend.compare.text import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Page

_WIDTH = 13.0
_LEFT = 3.5
_RIGHT = 0.25
_GAP = 0.55
_ROW = 0.4
_HEAD = 1.15
_FOOT = 0.55
_COLOURS = {"better": style.GREEN, "worse": style.VERMILLION, "same": style.MUTED, "": style.MUTED}
_WORDS = {"better": "better", "worse": "worse", "same": "about the same", "": ""}


@dataclass(frozen=True)
class _Row:
    """A line of the figure: the scenario's first has its name and outcome."""

    change: Change
    first: bool
    op: str
    success: Figure | None = None
    latency: Figure | None = None
    over: Figure | None = None


def draw(comparison: Comparison) -> tuple[bytes, bytes]:
    """The figure as SVG and as PNG. Controls are left out: what they do with the protection off is not compared."""
    with style.applied():
        return canvas.files(_page(comparison))


def _page(comparison: Comparison) -> Page:
    from matplotlib.figure import Figure as Page

    rows = _rows(comparison)
    height = _HEAD + _ROW * max(1, len(rows)) + _FOOT
    page = Page(figsize=(_WIDTH, height))
    top = 1 - 0.3 / height
    heading = f"{comparison.before}  →  {comparison.after}"
    page.text(0.18 / _WIDTH, top, heading, size=style.LARGE, weight="bold", va="center")
    page.text(
        0.18 / _WIDTH, 1 - 0.55 / height,
        f"score {told(comparison.score_before)} → {told(comparison.score_after)};  figures: while faults were active",
        size=style.NORMAL, color=style.MUTED, va="center",
    )  # fmt: skip
    columns: list[tuple[str, list[Figure | None]]] = [
        ("success", [row.success for row in rows]),
        ("p99", [row.latency for row in rows]),
        ("share over the limit", [row.over for row in rows]),
        ("recovery", [row.change.recovery if row.first else None for row in rows]),
    ]
    width = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(columns) - 1)) / len(columns)
    for number, (title, figures) in enumerate(columns):
        left = _LEFT + number * (width + _GAP)
        axes = page.add_axes((left / _WIDTH, _FOOT / height, width / _WIDTH, _ROW * max(1, len(rows)) / height))
        _column(axes, title, figures)
        if number == 0:
            _names(axes, rows, width)
    _legend(page, height)
    return page


def _rows(comparison: Comparison) -> list[_Row]:
    rows: list[_Row] = []
    for change in comparison.changes:
        if change.control:
            continue
        if not change.operations:
            rows.append(_Row(change, True, ""))
        for index, (op, figures) in enumerate(change.operations.items()):
            by = {figure.name: figure for figure in figures}
            over = next((figure for figure in figures if figure.name.startswith("over ")), None)
            rows.append(_Row(change, index == 0, op, by.get("success"), by.get("p99"), over))
    return rows


def _column(axes: Axes, title: str, figures: Sequence[Figure | None]) -> None:
    """Circles before, discs after; a label at what it is now."""
    axes.set_ylim(len(figures) - 0.5 if figures else 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for row in range(len(figures)):
        axes.axhline(row, color=style.PALE, linewidth=0.5, zorder=0)
    axes.set_title(title, loc="left", size=style.NORMAL, weight="bold", pad=6)
    durations = any(figure is not None and figure.kind == "duration" for figure in figures)
    _scale(axes, figures, durations)
    for row, figure in enumerate(figures):
        if figure is None:
            continue
        colour = _COLOURS[figure.direction]
        ends = [value for value in (figure.before, figure.after) if value is not None]
        if len(ends) == 2:
            axes.plot(ends, [row, row], color=colour, linewidth=1.6, zorder=2)
        if figure.before is not None:
            axes.plot(
                [figure.before], [row], marker="o", markersize=6, color=style.PAPER, markeredgecolor=colour,
                markeredgewidth=1.3, zorder=3, clip_on=False,
            )  # fmt: skip
        if figure.after is not None:
            axes.plot([figure.after], [row], marker="o", markersize=6, color=colour, zorder=4, clip_on=False)
        words = show(figure, figure.after)
        if figure.direction in ("better", "worse"):
            words = f"{show(figure, figure.before)} → {words}"
        if figure.name.startswith("over "):
            words += f" ({figure.name})"
        if ends:
            axes.text(
                0.0, row - 0.3, words, transform=axes.get_yaxis_transform(), size=style.SMALL - 1, color=colour,
                va="center", ha="left",
            )  # fmt: skip


def _scale(axes: Axes, figures: Sequence[Figure | None], durations: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    values = [value for figure in figures if figure for value in (figure.before, figure.after) if value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if not durations:
        # A share over a limit is small where things are well; successes are read against 100 %.
        end = 1.0 if low > 0.5 or high > 0.5 else max(high, 0.01) * 1.1
        axes.set_xlim(-0.02 * end, 1.02 * end)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]) if end == 1 else MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_ratio(value)))
        return
    if low > 0 and high / low > 20:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.3)
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(-0.02 * (high or 1.0), (high or 1.0) * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))


def _names(axes: Axes, rows: Sequence[_Row], width: float) -> None:
    for number, row in enumerate(rows):
        change = row.change
        left = -(_LEFT - 0.18) / width
        if row.first:
            outcome = change.after or "not there"
            if change.before != change.after:
                outcome = f"{change.before or 'not there'} → {outcome}"
            colour = style.BY_OUTCOME.get(change.after or "", style.MUTED)
            name = text.fit(change.name, _LEFT - 0.35, style.SMALL, bold=True)
            axes.text(left, number - 0.2, name, transform=axes.get_yaxis_transform(), weight="bold", va="center")
            axes.text(
                left, number + 0.22, text.fit(outcome, 1.7), transform=axes.get_yaxis_transform(), color=colour,
                va="center",
            )  # fmt: skip
        axes.text(
            -0.15 / width, number + 0.22, text.fit(row.op, 1.4), transform=axes.get_yaxis_transform(), ha="right",
            va="center", color=style.MUTED,
        )  # fmt: skip


def _legend(page: Page, height: float) -> None:
    from matplotlib.lines import Line2D

    def line(label: str, **look: str) -> Line2D:
        return Line2D([], [], marker="o", markersize=6, label=label, **look)  # type: ignore[arg-type]  # a style by name

    handles = [
        line("before", color=style.MUTED, markerfacecolor=style.PAPER, linestyle="none"),
        line("after", color=style.MUTED, linestyle="none"),
        *(line(_WORDS[kind], color=_COLOURS[kind]) for kind in ("better", "worse", "same")),
    ]
    page.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(1 - _RIGHT / _WIDTH, 1 - 0.15 / height), ncols=5,
        frameon=False, fontsize=style.SMALL, handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip
