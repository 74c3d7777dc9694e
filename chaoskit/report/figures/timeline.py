"""The timeline of a scenario: what was done to it, what its callers saw, what reached the dependency, what was held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from chaoskit.base.units import counted, format_duration
from chaoskit.report.figures import canvas, dependency, gauges, head, operation, style, text, timeaxis
from chaoskit.report.figures.facts import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_OPERATIONS = 3


def draw(facts: Facts) -> Figure:
    """The figure. To be called with :func:`style.applied` in force."""
    shown = facts.operations[:MOST_OPERATIONS]
    points = sum(len(facts.view.requests(op)) for op in shown)
    panels = [head.panel(facts)]
    for op in shown:
        panels += operation.panels(facts, op, small=len(shown) > 1, vector=points <= operation.VECTOR_POINTS)
    panels += dependency.panels(facts)
    panels += gauges.panels(facts)
    if len(panels) == 1:
        panels.append(canvas.Panel(0.6, lambda axes: _nothing(axes, facts)))
    last = panels[-1]

    def with_numbers(axes: Axes) -> None:
        last.draw(axes)
        timeaxis.numbers(axes, facts)

    return canvas.page(header(facts), [*panels[:-1], replace(last, draw=with_numbers)])


def header(facts: Facts) -> canvas.Header:
    """Outcome, name, reason, and the circumstances."""
    outcome = str(facts.verdict.outcome)
    lines = [
        (line, style.BY_OUTCOME[outcome])
        for line in text.wrap(facts.verdict.reason, canvas.WIDTH - 0.4, 2, style.NORMAL)
    ]
    others = [judged.finding.id for judged in facts.verdict.failed() if judged.finding.id not in facts.verdict.reason]
    if others:
        lines.append((f"also not held: {', '.join(others)}", style.BY_OUTCOME[outcome]))
    if facts.note:
        lines.append((facts.note, style.INK))
    lines.append((" · ".join(_circumstances(facts)), style.MUTED))
    return canvas.Header(outcome, facts.scenario.name, lines)


def _circumstances(facts: Facts) -> Iterator[str]:
    model = facts.scenario.model
    if model.case:
        yield f"case {model.case}"
    yield model.severity
    yield f"environment {facts.scenario.environment.name}"
    yield counted(facts.verdict.samples, "requests")
    if facts.history.counts():
        yield f"{format_duration(facts.range.length)} shown"
    hidden = facts.operations[MOST_OPERATIONS:]
    if hidden:
        yield f"not drawn: {', '.join(hidden)}"


def _nothing(axes: Axes, facts: Facts) -> None:
    timeaxis.prepare(axes, facts, "nothing")
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    words = "nothing was recorded" if not facts.history.counts() else "no request was recorded"
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", size=style.LARGE, color=style.MUTED)
