"""Fetches what the proxies saw (connections, HTTP exchanges) into the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chaoskit.history.rows import Row
from chaoskit.observers.base import Emit, Observer


class Batch(Protocol):
    """Some of the rows that a tap has collected."""

    @property
    def next(self) -> int:
        """Where the next batch begins."""

    @property
    def dropped(self) -> int:
        """Rows from ``since`` on that were lost before this batch."""

    @property
    def rows(self) -> Sequence[Row]:
        """What has ended."""

    @property
    def open_rows(self) -> Sequence[Row]:
        """What is still open, when that was asked for."""


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

    def start(self) -> None:
        """Begin where it ended, with nothing counted as lost."""
        self.dropped = 0
        super().start()

    def drain(self) -> None:
        """End, and fetch all that is left, also what is still open. Raises what the source raises."""
        self.stop()
        while self._fetch(flush=False):
            pass
        self._fetch(flush=True)

    def _fetch(self, *, flush: bool) -> bool:
        """Fetch a batch; True when it brought the cursor forward."""
        batch = self._source.events(self._since, flush)
        before, self._since = self._since, batch.next
        for row in (*batch.rows, *batch.open_rows):
            self.emit(row)
        if batch.dropped:
            self.dropped += batch.dropped
            self.failed(f"the tap lost {self.dropped} rows because they were not fetched in time")
        return self._since > before
