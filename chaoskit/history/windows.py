"""Spans of time, and percentiles of what fell into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram


@dataclass(frozen=True, order=True)
class Window:
    """From ``start`` (included) to ``end`` (excluded), monotonic seconds."""

    start: float
    end: float

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, (int, float)) and self.start <= moment < self.end

    @property
    def length(self) -> float:
        """Seconds."""
        return max(0.0, self.end - self.start)


def merge(windows: Iterable[Window]) -> list[Window]:
    """The same time as disjoint windows in order."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return merged


def without(windows: Iterable[Window], taken: Sequence[Window]) -> list[Window]:
    """The time of ``windows`` that lies in none of ``taken``."""
    left = list(windows)
    for hole in taken:
        parts = [
            (Window(window.start, min(window.end, hole.start)), Window(max(window.start, hole.end), window.end))
            for window in left
        ]
        left = [part for both in parts for part in both if part.length]
    return left


def inside(moment: float, windows: Sequence[Window]) -> bool:
    """Whether ``moment`` lies in any of ``windows``."""
    return any(window.start <= moment < window.end for window in windows)


# One microsecond to one hour at three significant digits: the range and precision HdrHistogram's authors
# recommend for service latencies (https://hdrhistogram.org); relative error at most 0.1 %.
_LOWEST, _HIGHEST, _DIGITS = 1, 3_600_000_000, 3


def histogram(seconds: Iterable[float]) -> HdrHistogram:
    """An HdrHistogram of durations, in microseconds."""
    from hdrh.histogram import HdrHistogram

    result = HdrHistogram(_LOWEST, _HIGHEST, _DIGITS)
    for value in seconds:
        result.record_value(min(_HIGHEST, max(_LOWEST, round(value * 1e6))))
    return result


def percentile(seconds: Sequence[float], percent: float) -> float:
    """The ``percent`` percentile (0 to 100) in seconds, by HdrHistogram. Raises ValueError without values."""
    if not seconds:
        raise ValueError("a percentile of nothing")
    return float(histogram(seconds).get_value_at_percentile(percent)) / 1e6
