"""A comparison for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.base.units import format_duration, format_ratio
from chaoskit.report.score import told
from chaoskit.report.shorten import gist
from chaoskit.trend.compare.changes import Change, Comparison, Figure

_MARK = {"better": "+", "worse": "-", "same": " ", "": " "}


def lines(comparison: Comparison) -> Iterator[str]:
    """What got worse first: outcomes, then figures under the faults. ``+`` is better, ``-`` is worse."""
    yield f"before  {comparison.before}   score {told(comparison.score_before)}"
    yield f"after   {comparison.after}   score {told(comparison.score_after)}"
    both = sum(change.before is not None and change.after is not None for change in comparison.changes)
    if both < len(comparison.changes):
        yield f"the scores are of different scenarios: {both} of {len(comparison.changes)} are in both runs"
    for change in comparison.changes:
        yield ""
        yield from _change(change)
    yield ""
    yield _sum(comparison)


def _change(change: Change) -> Iterator[str]:
    outcome = change.after if change.before == change.after else f"{change.before or 'not there'} → {change.after}"
    if change.after is None:
        outcome = f"{change.before} → not there"
    yield f"{_MARK[change.direction]} {change.name}  {outcome}  ({change.severity})"
    if change.differs:
        keys = ", ".join(change.differs)
        yield f"    the scenario itself differs ({keys}): its traffic, bounds or faults were changed in between"
    if change.reason:
        first, *cause = gist(change.reason)
        yield f"    {first}"
        yield from (f"      {line}" for line in cause)
    for op, figure in change.figures():
        if figure.before is None and figure.after is None:
            continue
        label = f"{op} {figure.name}".strip()
        yield f"  {_MARK[figure.direction]} {label:<28} {step(figure)}"


def show(figure: Figure, value: float | None) -> str:
    """A value of a figure with its unit; ``-`` for none."""
    if value is None:
        return "-"
    return format_duration(value) if figure.kind == "duration" else format_ratio(value)


def step(figure: Figure) -> str:
    """``380ms → 165ms  (-57%)``; shares by percentage points."""
    text = f"{show(figure, figure.before):>8} → {show(figure, figure.after):<8}"
    if figure.before is None or figure.after is None or figure.before == figure.after:
        return text.rstrip()
    if figure.kind == "share":
        return f"{text} ({(figure.after - figure.before) * 100:+.3g} points)"
    if figure.before == 0:
        return text.rstrip()
    return f"{text} ({(figure.after / figure.before - 1) * 100:+.0f}%)"


def _sum(comparison: Comparison) -> str:
    of = [change.direction for change in comparison.changes]
    news = sum(change.before is None for change in comparison.changes)
    gone = sum(change.after is None for change in comparison.changes)
    figures = [
        figure.direction for change in comparison.changes if not change.control for _, figure in change.figures()
    ]
    parts = [f"outcomes: {of.count('worse')} worse, {of.count('better')} better, {of.count('same')} as before"]
    parts += [f"{news} new"] if news else []
    parts += [f"{gone} not there any more"] if gone else []
    return f"{', '.join(parts)};  figures: {figures.count('worse')} worse, {figures.count('better')} better"
