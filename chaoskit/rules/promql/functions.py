"""PromQL's functions over the samples of a range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from chaoskit.rules.promql.series import Window

OverRange = Callable[[Window, int, int], float | None]
"""Of a window and its range (start, end) in milliseconds: a value, or None where there is none."""

NEAR = 1.1
"""Times the average distance of samples: a boundary of the range nearer than that is extrapolated to."""


def extrapolated(window: Window, start: int, end: int, *, rate: bool) -> float | None:
    """How much a counter grew over the range, or by second: resets made up for, extrapolated as Prometheus does.

    See ``extrapolatedRate`` in Prometheus' ``promql/functions.go``.
    """
    times, values = window.times, window.values
    if len(times) < 2:
        return None
    grown = values[-1] - values[0]
    before = 0.0
    for value in values:
        if value < before:  # a reset: the counter began at 0 again
            grown += before
        before = value
    sampled = (times[-1] - times[0]) / 1000
    average = sampled / (len(times) - 1)
    to_start, to_end = (times[0] - start) / 1000, (end - times[-1]) / 1000
    if grown > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * (values[0] / grown))  # it was never below zero
    reach = sampled
    for gap in (to_start, to_end):
        reach += gap if gap < average * NEAR else average / 2
    factor = reach / sampled
    return grown * (factor / ((end - start) / 1000) if rate else factor)


def _increase(window: Window, start: int, end: int) -> float | None:
    return extrapolated(window, start, end, rate=False)


def _rate(window: Window, start: int, end: int) -> float | None:
    return extrapolated(window, start, end, rate=True)


def _changes(window: Window, _start: int, _end: int) -> float:
    pairs = zip(window.values, window.values[1:], strict=False)
    return float(sum(old != new and not (math.isnan(old) and math.isnan(new)) for old, new in pairs))


def _over(function: Callable[[list[float]], float]) -> OverRange:
    return lambda window, _start, _end: function(window.values)


def largest(values: list[float]) -> float:
    """The largest that is a number; NaN where none is."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def smallest(values: list[float]) -> float:
    """The smallest that is a number; NaN where none is."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def total(values: list[float]) -> float:
    """The sum; infinities of both signs make NaN."""
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return sum(values)


def mean(values: list[float]) -> float:
    """The average."""
    return total(values) / len(values)


def number(values: list[float]) -> float:
    """How many there are."""
    return float(len(values))


OVER_RANGE: Mapping[str, OverRange] = {
    "avg_over_time": _over(mean),
    "changes": _changes,
    "count_over_time": _over(number),
    "increase": _increase,
    "max_over_time": _over(largest),
    "min_over_time": _over(smallest),
    "rate": _rate,
    "sum_over_time": _over(total),
}

AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {
    "avg": mean,
    "count": number,
    "max": largest,
    "min": smallest,
    "sum": total,
}
