"""Requests put into slices of time: enough in each to say something, few enough to be seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, nan
from typing import TypeVar

from chaoskit.history.windows import Window

T = TypeVar("T")

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LEAST, _MOST = 7, 40
_FULL = 10
"""Values that a slice should hold on average."""


@dataclass(frozen=True)
class Buckets:
    """Slices of ``span``, each ``width`` seconds wide; ``edges`` has one more than there are slices."""

    span: Window
    edges: Sequence[float]
    width: float

    @classmethod
    def over(cls, span: Window, count: int) -> Buckets:
        """Slices over ``span`` for ``count`` values. An edge lies on 0, where the first fault begins."""
        length = max(span.length, 1e-3)
        fitting = [width for width in _WIDTHS if _LEAST <= length / width <= _MOST] or [length / _MOST]
        width = next((width for width in fitting if count * width / length >= _FULL), fitting[-1])
        first = -ceil(max(0.0, -span.start) / width - 1e-9)
        last = max(first + 1, ceil(span.end / width - 1e-9))
        return cls(span, [index * width for index in range(first, last + 1)], width)

    def sort(self, values: Iterable[tuple[float, T]]) -> list[list[T]]:
        """Values with their times, as one list a slice; what lies outside of the span is left out."""
        found: list[list[T]] = [[] for _ in self.edges[1:]]
        for at, value in values:
            index = bisect_right(self.edges, at) - 1
            if self.span.start <= at <= self.span.end and 0 <= index < len(found):
                found[index].append(value)
        return found

    @property
    def lengths(self) -> list[float]:
        """How much of each slice lies within the span, in seconds: the first and the last are cut."""
        start, end = self.span.start, self.span.end
        return [max(1e-3, min(edge + self.width, end) - max(edge, start)) for edge in self.edges[:-1]]

    @property
    def middles(self) -> list[float]:
        """The middle of each slice."""
        return [edge + self.width / 2 for edge in self.edges[:-1]]


def share(part: int, whole: int) -> float:
    """NaN, which is drawn as a gap, where there is nothing to have a share of."""
    return part / whole if whole else nan
