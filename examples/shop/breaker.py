"""A circuit breaker that opens on the share of failures in a sliding window.

Our own because the well-kept libraries (pybreaker, aiobreaker, purgatory) count consecutive failures: under a
dependency that fails every third call they never open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shop.sliding import SlidingCount

CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class BreakerOpen(Exception):
    """The call was not made: the dependency is considered down."""


class Breaker:
    """Opens at ``ratio`` of at least ``min_calls`` calls failed within ``window`` seconds.

    While open, one call is let through as a probe every ``probe_every`` seconds; ``good_probes`` good ones in a
    row close it. ``on_change`` is told each new state. Not thread-safe: for one event loop.
    """

    def __init__(
        self,
        *,
        ratio: float,
        min_calls: int,
        window: float,
        probe_every: float,
        good_probes: int,
        on_change: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ratio = ratio
        self._min_calls = min_calls
        self._probe_every = probe_every
        self._good_probes = good_probes
        self._on_change = on_change
        self._clock = clock
        self._calls = SlidingCount(window, clock=clock)
        self._failures = SlidingCount(window, clock=clock)
        self._state = CLOSED
        self._last_probe = 0.0
        self._good = 0

    @property
    def state(self) -> int:
        return self._state

    @contextmanager
    def call(self, failure: type[Exception]) -> Iterator[bool]:
        """Guard one call; gives True when it is a probe. It failed if it ends with ``failure``.

        Any other exception is an answer too (a refusal, say) and counts as good; a cancelled call does not count.
        Raises :class:`BreakerOpen` instead of letting the call happen.
        """
        probe = self._state != CLOSED
        if probe:
            if self._clock() - self._last_probe < self._probe_every:
                raise BreakerOpen
            self._last_probe = self._clock()
        try:
            yield probe
        except failure:
            self._record(probe, failed=True)
            raise
        except Exception:
            self._record(probe, failed=False)
            raise
        else:
            self._record(probe, failed=False)

    def _record(self, probe: bool, *, failed: bool) -> None:
        if probe:
            self._record_probe(failed)
        elif self._state == CLOSED:  # a late answer to a call from before opening changes nothing
            self._calls.add()
            self._failures.add(failed)
            calls = self._calls.total()
            if failed and calls >= self._min_calls and self._failures.total() >= self._ratio * calls:
                self._last_probe = self._clock()
                self._become(OPEN)

    def _record_probe(self, failed: bool) -> None:
        self._good = 0 if failed else self._good + 1
        if self._good < self._good_probes:
            self._become(OPEN if failed else HALF_OPEN)
            return
        self._good = 0
        self._calls.clear()
        self._failures.clear()
        self._become(CLOSED)

    def _become(self, state: int) -> None:
        if state != self._state:
            self._state = state
            self._on_change(state)
