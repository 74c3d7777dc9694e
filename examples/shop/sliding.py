"""Counts over the last seconds, in constant memory: a ring of short buckets."""

from __future__ import annotations

import time
from collections.abc import Callable


class SlidingCount:
    """How much was added during the last ``window`` seconds, give or take one bucket."""

    def __init__(self, window: float, *, buckets: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self._width = window / buckets
        self._clock = clock
        self._counts = [0] * buckets
        self._newest = self._slot()

    def add(self, amount: int = 1) -> None:
        self._advance()
        self._counts[self._newest % len(self._counts)] += amount

    def total(self) -> int:
        self._advance()
        return sum(self._counts)

    def clear(self) -> None:
        self._counts = [0] * len(self._counts)

    def _slot(self) -> int:
        return int(self._clock() / self._width)

    def _advance(self) -> None:
        """Empty the buckets that time has passed over."""
        slot = self._slot()
        for passed in range(max(self._newest + 1, slot - len(self._counts) + 1), slot + 1):
            self._counts[passed % len(self._counts)] = 0
        self._newest = slot
