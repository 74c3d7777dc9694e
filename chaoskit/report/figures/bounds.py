"""The bounds on an operation, as lines: where each stands, when it counts, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from chaoskit.expectations._operations import measure
from chaoskit.expectations._relative import steady_figure
from chaoskit.expectations.after import After
from chaoskit.expectations.during import During
from chaoskit.history.windows import Window
from chaoskit.language.bounds import RelativeBound
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Note, note_of


@dataclass(frozen=True)
class Line:
    """One bound. ``levels`` are its finite limits, ``spans`` when it counts, each with an outcome for its colour."""

    metric: str
    levels: list[float]
    spans: list[tuple[Window, str]]
    note: Note


def lines(facts: Facts, op: str, metrics: set[str]) -> list[Line]:
    """The bounds on these metrics of an operation."""
    found = []
    for prefix, asked, before, later in _asked(facts, op):
        for metric, bound in asked.bounds():
            if metric not in metrics:
                continue
            if isinstance(bound, RelativeBound):
                steady = steady_figure(op, metric, bound, facts.view, measure).value
                bound = bound.of(steady) if steady > 0 else bound  # the line stands at the limit
            words = f"{prefix.removesuffix('_state')} {metric.removesuffix('_rate')} {bound}"
            finding = facts.finding(f"{prefix}.{op}.{metric}")
            note = note_of(finding, words) if finding else Note(words)
            levels = [level for level in dict.fromkeys((bound.low, bound.high)) if abs(level) < inf]
            spans = [(window, note.outcome) for window in before] + later
            found.append(Line(metric, levels, spans, note))
    return found


def _asked(facts: Facts, op: str) -> Iterator[tuple[str, OperationBounds, list[Window], list[tuple[Window, str]]]]:
    """Bounds by the name of their findings; the windows they are judged over, and others with their own outcome."""
    view, steady = facts.view, facts.scenario.model.steady_state
    if op in steady:
        whole, end = facts.range, view.last_cure
        if view.first_fault is None or end is None:
            yield "steady_state", steady[op], [whole], []
        else:
            # After the faults steady state is asked for again; whether it came back is the finding on recovery.
            back = "held" if facts.verdict.recovery is not None else "violated"
            back = back if facts.finding("recovery") else ""
            before, later = Window(whole.start, 0.0), Window(facts.at(end), whole.end)
            yield "steady_state", steady[op], [before], [(later, back)]
    phase = view.phases.get("after")
    for planned in facts.scenario.expectations:
        expectation = planned.expectation
        if isinstance(expectation, During) and op in expectation.root:
            yield "during", expectation.root[op], [facts.span(window) for window in view.fault_windows], []
        if isinstance(expectation, After) and op in expectation.root and phase is not None:
            yield "after", expectation.root[op], [facts.span(phase)], []
