"""One stream in progress: renders ahead of time and fires when a request is due."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from chaoskit.base.errors import ChaosError
from chaoskit.traffic.prepare import Prepared, Recipe
from chaoskit.traffic.schedule import due_times
from chaoskit.traffic.spec import Stream
from chaoskit.traffic.templates import stable_seed

AHEAD = 1.0
"""Seconds before its time that a request is rendered, at the earliest ..."""

AHEAD_MOST = 4096
"""... and how many may wait rendered."""

_AT_ONCE = 8
"""Due requests fired before the loop may look after answers and other streams again."""


class Due(NamedTuple):
    """A rendered request and when the schedule wants it sent."""

    stream: str
    seq: int
    intended: float
    recipe: Recipe
    request: Prepared


class RunningStream:
    """Calls ``fire`` with each request at its time; never skips one, however late it is.

    ``failed`` is called with a ChaosError when a request cannot be rendered; the stream then ends.
    Raises ValueError for a stream without any rate.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stream: Stream,
        recipe: Recipe,
        seed: int,
        fire: Callable[[Due], None],
        failed: Callable[[ChaosError], None],
    ) -> None:
        operation = recipe.operation
        rng = random.Random(stable_seed(seed, operation.name, stream.id, "arrivals"))  # noqa: S311 - repeatable
        self._times = due_times(stream, operation.rate, operation.arrival, rng)
        self._loop = loop
        self._stream = stream
        self._recipe = recipe
        self._fire = fire
        self._failed = failed
        self._seq = 0
        self.copies = operation.copies
        self._next: float | None = next(self._times, None)
        self._ready: deque[Due] = deque()
        self._timer: asyncio.Handle | None = None
        self._renderer: asyncio.Handle | None = None
        self.stopped = False
        self._render_more()

    def stop(self) -> int:
        """Fire what is due by now and rendered, and nothing after it.

        Returns how many requests were due by now, too, but had not been rendered yet.
        """
        now = self._loop.time()
        # Due a moment ago, its timer about to run: it was planned, so it is sent.
        while not self.stopped and self._ready and self._ready[0].intended <= now:
            self._fire(self._ready.popleft())
        overdue = 0
        while not self.stopped and self._next is not None and self._next <= now:
            overdue += 1
            self._next = next(self._times, None)
        self.cancel()
        return overdue

    def cancel(self) -> None:
        """Fire nothing any more."""
        self.stopped = True
        self._ready.clear()
        for handle in (self._timer, self._renderer):
            if handle is not None:
                handle.cancel()

    def _render_more(self) -> None:
        """Have the next request rendered as soon as the loop is free, or when it comes into sight."""
        if self.stopped or self._renderer is not None or self._next is None or len(self._ready) >= AHEAD_MOST:
            return
        sight = self._next - AHEAD
        if sight <= self._loop.time():
            self._renderer = self._loop.call_soon(self._render)
        else:
            self._renderer = self._loop.call_at(sight, self._render)

    def _render(self) -> None:
        self._renderer = None
        assert self._next is not None
        try:
            request = self._recipe.prepare(self._stream.id, self._seq)
        except ChaosError as error:
            self.cancel()
            self._failed(error)
            return
        self._ready.append(Due(self._stream.id, self._seq, self._next, self._recipe, request))
        self._seq += 1
        self._next = next(self._times, None)
        self._render_more()
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self._ready[0].intended, self._fire_due) if self._ready else None

    def _fire_due(self) -> None:
        self._timer = None
        for _ in range(_AT_ONCE):
            if self.stopped or not self._ready or self._ready[0].intended > self._loop.time():
                break
            self._fire(self._ready.popleft())
        if not self.stopped:
            self._arm()
            self._render_more()
