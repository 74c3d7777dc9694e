"""Fetches what the proxies saw (connections, HTTP exchanges) into the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chaoskit.history.rows import Row
from chaoskit.observers.base import Emit, Observer


class Batch(Protocol):
    """Rows that a tap has collected. ``next`` is where the next batch begins; ``dropped`` counts rows that the
    tap had to throw away because nobody fetched them in time."""

    @property
    def next(self) -> int:
        """Where the next batch begins."""

    @property
    def dropped(self) -> int:
        """Rows lost since the tap began."""

    @property
    def rows(self) -> Sequence[Row]:
        """The rows."""


class Source(Protocol):
    """A tap. ``flush`` asks for connections and exchanges that are still open, too."""

    def events(self, since: int, flush: bool) -> Batch:
        """The rows from number ``since`` on."""


class TapPoller(Observer):
    """Emits the rows of a tap. Lost rows are an error: a verdict on part of the traffic would be a guess."""

    def __init__(self, source: Source, emit: Emit, interval: float = 0.2) -> None:
        super().__init__(emit, interval, "tap")
        self.dropped = 0
        self._source = source
        self._since = 0

    def observe(self) -> None:
        """Fetch what is new."""
        self._fetch(flush=False)

    def drain(self) -> None:
        """End, and fetch all that is left, also what is still open. Raises what the source raises."""
        self.stop()
        self._fetch(flush=True)

    def _fetch(self, *, flush: bool) -> None:
        batch = self._source.events(self._since, flush)
        self._since = batch.next
        for row in batch.rows:
            self.emit(row)
        if batch.dropped > self.dropped:
            self.dropped = batch.dropped
            self.failed(f"the tap lost {batch.dropped} rows because they were not fetched in time")
