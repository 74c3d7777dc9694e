"""Time series in memory. Times are Unix milliseconds, as in Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

NAME = "__name__"
LOOKBACK = 5 * 60 * 1000
"""How old the latest sample of a series may be to count as its value."""

Labels = frozenset[tuple[str, str]]
"""A series' identity, its name included."""


class Sample(NamedTuple):
    """A value of a vector. ``labels`` hold the name where it was not dropped."""

    labels: Mapping[str, str]
    value: float


class Window(NamedTuple):
    """The samples of one series within a range."""

    labels: Mapping[str, str]
    times: list[int]
    values: list[float]


@dataclass
class _Series:
    labels: Mapping[str, str]
    times: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)  # None: stale from here on

    def at(self, moment: int) -> float | None:
        """The latest value not older than the lookback; None where it is stale, or there is none."""
        index = bisect_right(self.times, moment) - 1
        if index < 0 or self.times[index] <= moment - LOOKBACK:
            return None
        return self.values[index]

    def between(self, start: int, end: int) -> Window:
        """The values from ``start`` to ``end``, both included; marks of staleness are none."""
        low, high = bisect_left(self.times, start), bisect_right(self.times, end)
        kept = [
            (time, value)
            for time, value in zip(self.times[low:high], self.values[low:high], strict=True)
            if value is not None
        ]
        return Window(self.labels, [time for time, _ in kept], [value for _, value in kept])


class Store:
    """All series; safe to use from several threads. What is older than ``keep`` milliseconds may be forgotten."""

    def __init__(self, keep: int = LOOKBACK) -> None:
        self._keep = max(keep, LOOKBACK)
        self._by_name: dict[str, dict[Labels, _Series]] = {}
        self._lock = threading.Lock()

    def append(self, moment: int, samples: Iterable[tuple[Mapping[str, str], float | None]]) -> None:
        """One value for each series at ``moment``; None marks it as stale. Older than its latest is left out."""
        with self._lock:
            for labels, value in samples:
                series = self._of(labels)
                if series.times and series.times[-1] >= moment:
                    continue
                series.times.append(moment)
                series.values.append(value)
                if series.times[0] < moment - 2 * self._keep:  # seldom, a whole half at once
                    old = bisect_left(series.times, moment - self._keep)
                    del series.times[:old], series.values[:old]

    def forget(self) -> None:
        """Delete everything."""
        with self._lock:
            self._by_name.clear()

    def instant(self, name: str | None, wanted: Wanted, moment: int) -> list[Sample]:
        """The value of each series that ``wanted`` fits."""
        with self._lock:
            found = [(series.labels, series.at(moment)) for series in self._fitting(name, wanted)]
        return [Sample(labels, value) for labels, value in found if value is not None]

    def range(self, name: str | None, wanted: Wanted, start: int, end: int) -> list[Window]:
        """The samples of each series that ``wanted`` fits; those without any are left out."""
        with self._lock:
            windows = [series.between(start, end) for series in self._fitting(name, wanted)]
        return [window for window in windows if window.times]

    def _of(self, labels: Mapping[str, str]) -> _Series:
        named = self._by_name.setdefault(labels[NAME], {})
        key = frozenset(labels.items())
        if key not in named:
            named[key] = _Series(dict(labels))
        return named[key]

    def _fitting(self, name: str | None, wanted: Wanted) -> list[_Series]:
        groups = self._by_name.values() if name is None else [self._by_name.get(name, {})]
        return [series for group in groups for series in group.values() if wanted.fits(series.labels)]


class Wanted:
    """Matchers of a selector, each a label's name, an operator (``=``, ``!=``, ``=~``, ``!~``) and a value."""

    def __init__(self, matchers: Iterable[tuple[str, str, str]]) -> None:
        import re

        self._equal = []
        self._pattern = []
        for label, operator, value in matchers:
            if operator.endswith("~"):
                self._pattern.append((label, re.compile(value), operator == "=~"))
            else:
                self._equal.append((label, value, operator == "="))

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether all matchers hold; a label that is not there is empty."""
        for label, value, same in self._equal:
            if (labels.get(label, "") == value) != same:
                return False
        return all(
            (pattern.fullmatch(labels.get(label, "")) is not None) == matches
            for label, pattern, matches in self._pattern
        )
