"""Bounds relative to the run's own steady state: ``p95: "<= 3x steady"`` moves between machines.

The steady figure is that of the same operation over the steady phase as the judge takes it (:func:`steady_windows`), on
the requests of calm time where these are enough, else on all. A disturbed steady phase was slower than the service is,
which makes limits of a latency wider than they should be: unless the outcome is the same with what the steady figure
was at best (:mod:`chaoskit.expectations._calm`), and with all between, it is inconclusive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

from chaoskit.base.units import counted
from chaoskit.expectations._calm import at_best, inconclusive
from chaoskit.expectations._evidence import vacuous
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, without
from chaoskit.language.bounds import Bound, RelativeBound
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.samples import needed, steady_guard
from chaoskit.language.view import View

Measure = Callable[[Sequence[r.Request], str, float], float]
"""A metric of requests that were sent within so many seconds."""


def steady_windows(view: View) -> list[Window]:
    """The steady phase up to the earliest request that was still under way when the first fault struck.

    Such a request belongs neither to the steady state nor to the fault. Only the last moments are left out for it
    (:func:`chaoskit.language.samples.steady_guard`): one that hangs for longer is the steady state's own trouble.
    """
    phase = view.phases.get("steady")
    if phase is None:
        return []
    end = phase.end if view.first_fault is None else min(phase.end, view.first_fault)
    return [clear_of_the_next(view, Window(phase.start, end))]


def clear_of_the_next(view: View, span: Window) -> Window:
    """A ``span`` up to the earliest request that was still under way when a fault struck at its end."""
    last = Window(span.end - steady_guard(span.length), span.end)
    under_way = [row.intended for row in view.requests(None, [last]) if row.ended >= span.end]
    return Window(span.start, min(under_way, default=span.end))


@dataclass(frozen=True)
class Steady:
    """A figure in the steady state, in base units, on so many ``samples``. ``value`` is NaN where they are too few.

    ``best`` is what it was at best, if the machine was disturbed within ``span``.
    """

    value: float
    samples: int
    best: float | None = None
    span: Window | None = None


def steady_figure(op: str, metric: str, bound: RelativeBound, view: View, measure: Measure) -> Steady:
    """What the steady state gives for a bound to be relative to."""

    def count(rows: Sequence[r.Request]) -> int:
        return sum(row.ok for row in rows) if metric == "fallback_rate" else len(rows)

    windows: Sequence[Window] = steady_windows(view)
    requests, need = view.requests(op, windows), needed(metric, bound)
    calm = [row for row in requests if view.calm.calm(row.intended)]
    if count(calm) >= need:
        requests, windows = calm, without(windows, view.calm.windows)
    if count(requests) < need:
        return Steady(nan, count(requests))
    seconds = sum(window.length for window in windows)
    value = measure(requests, metric, seconds)
    if not any(view.calm.during(row.intended, row.ended) for row in requests):
        return Steady(value, count(requests))
    best = [at_best(row, view, fallback=bound.factors.high == inf) for row in requests]
    span = Window(min(row.intended for row in requests), max(row.ended for row in requests))
    return Steady(value, count(requests), measure(best, metric, seconds), span)


def against_steady(
    id: str,
    path: tuple[str, str],
    bound: RelativeBound,
    view: View,
    measure: Measure,
    judge: Callable[[Bound], Finding],
) -> Finding:
    """The finding of ``judge`` on the bound that the steady state makes of this one."""
    op, metric = path
    steady = steady_figure(op, metric, bound, view, measure)
    need = needed(metric, bound)
    if steady.samples < need:
        why = f"the steady phase has {counted(steady.samples, 'samples')} to compare with; {need} are needed"
        return vacuous(id, str(bound), why, path, steady.samples)
    if not steady.value > 0:
        why = f"the steady figure is {bound.show(steady.value)}, of which there is no multiple; give a bound without it"
        return vacuous(id, str(bound), why, path, steady.samples)
    against = bound.of(steady.value)
    finding = judge(against)
    if steady.best is None or steady.span is None or finding.outcome in (Outcome.VACUOUS, Outcome.INCONCLUSIVE):
        return finding
    best = bound.of(steady.best)
    either = dataclasses.replace(against, low=min(against.low, best.low), high=max(against.high, best.high))
    if all(judge(other).outcome is finding.outcome for other in (best, either)):
        return finding
    measured, at_most = (bound.show(value) for value in (steady.value, steady.best))
    seen = f"{finding.seen}; but for others the steady {measured} may have been {at_most}"
    if steady.best > 0:
        seen += f", of which it is {judge(best).seen.partition(', while ')[0].rpartition(' ')[2].strip('()')}"
    return inconclusive(dataclasses.replace(finding, seen=seen), view, steady.span)
