"""Which side of a fault's beginning or end a request or a line of a log belongs to, where each must be as expected.

A request that is under way when a fault begins or ends has seen both: it belongs to neither side. So does what happens
while a fault is being injected or lifted. Figures over many (rates, percentiles) go by the intended send time instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Generic, Literal, TypeVar

from chaoskit.history import rows as r
from chaoskit.history.windows import Window, inside, merge
from chaoskit.language.view import View

Phase = Literal["faults", "steady", "recovery", "after", "all"]
T = TypeVar("T")

UNDECIDED = "those that were under way when a fault began or ended may count or not; phase: all has no such edges"
"""Why a count may be open."""

_TELLING = 8
"""Characters that an id has at least to be looked for in lines of a log."""


@dataclass(frozen=True)
class Sides(Generic[T]):
    """``clear`` surely belongs to the phase; ``edge`` may, or may not."""

    clear: list[T]
    edge: list[T]


@dataclass(frozen=True)
class Edges:
    """A phase with the beginnings and ends of faults at its edges."""

    view: View
    phase: Phase

    @cached_property
    def windows(self) -> list[Window] | None:
        """The time of the phase; None is all of it, and has no edges."""
        if self.phase == "all":
            return None
        if self.phase == "faults":
            return self.view.fault_windows
        return [self.view.phases[self.phase]] if self.phase in self.view.phases else []

    @cached_property
    def settled(self) -> list[Window]:
        """The time in which nothing is being injected or lifted."""
        if self.phase != "faults":
            return self.windows or []
        # A fault is lifted from its planned end on.
        spans = [Window(row.injected, min(row.planned_end, row.ended)) for row in self.view.faults]
        return merge(span for span in spans if span.length)

    @cached_property
    def quiet(self) -> list[Window]:
        """:attr:`settled` without the time in which requests that the end of a fault met under way are answered."""
        since = self.view.last_fault_end
        if self.phase not in ("recovery", "after") or since is None:
            return self.settled
        answered = max((row.ended for row in self._under_way(since)), default=since)
        return [Window(max(span.start, answered), span.end) for span in self.settled]

    def requests(self, op: str | None = None) -> Sides[r.Request]:
        """The requests of an operation, or of all, in the phase."""
        if self.windows is None or self.phase == "after":  # where ``after`` begins, no fault ends
            return Sides(self.view.requests(op, self.windows), [])
        clear: list[r.Request] = []
        edge: list[r.Request] = []
        for row in self.view.requests(op):
            if self.phase == "faults" and (sender := self._senders.get(row.stream)) is not None:
                # What a fault itself sends is wholly its own; only the edges of others count.
                (edge if self._crossed(row, sender) else clear).append(row)
            elif any(row.intended in span and row.ended <= self._until(span) for span in self.settled):
                clear.append(row)
            elif any(row.intended < span.end and row.ended > span.start for span in self.windows):
                edge.append(row)
        return Sides(clear, edge)

    @cached_property
    def _senders(self) -> dict[str, r.Fault]:
        """The faults that send requests themselves, by the stream that they tell of in their evidence."""
        return {str(row.evidence["stream"]): row for row in self.view.faults if "stream" in row.evidence}

    def _crossed(self, row: r.Request, sender: r.Fault) -> bool:
        """Whether a request of ``sender`` was under way when another fault began or ended."""
        others = [fault for fault in self.view.faults if fault is not sender]
        moments = [moment for fault in others for moment in (fault.started, fault.injected, fault.planned_end)]
        return any(row.intended < moment < row.ended for moment in moments)

    def lines(self, logs: Iterable[r.Log]) -> Sides[r.Log]:
        """Those of ``logs`` that were written in the phase, and not about a request that was sent before it or before
        its faults, nor after one that met their end under way."""
        if self.windows is None:
            return Sides(list(logs), [])
        clear, edge = [], []
        for log in logs:
            span = next((span for span in self.quiet if log.at in span), None)
            if span is not None and all(sent in span for name, sent in self._names.items() if name in log.line):
                clear.append(log)
            elif inside(log.at, [*self.windows, *self._late]):
                edge.append(log)
        return Sides(clear, edge)

    def _until(self, span: Window) -> float:
        """When a request of ``span`` must have ended to have seen nothing else."""
        if self.phase == "recovery":
            return inf
        first = self.view.first_fault
        return max(span.end, first) if self.phase == "steady" and first is not None else span.end

    @cached_property
    def _late(self) -> list[Window]:
        """After each fault, the time in which lines about what it met under way are still written."""
        if self.phase != "faults":
            return []
        ends = [span.end for span in self.view.fault_windows]
        return [Window(end, max((row.ended for row in self._under_way(end)), default=end)) for end in ends]

    @cached_property
    def _names(self) -> dict[str, float]:
        """Ids of the requests that the beginning or end of any fault met under way, and when each was to be sent."""
        moments = [moment for span in self.view.fault_windows for moment in (span.start, span.end)]
        rows = [row for moment in moments for row in self._under_way(moment)]
        ids = {name: row.intended for row in rows for name in (row.id, *row.traceparent.split("-")[1:2])}
        return {name: sent for name, sent in ids.items() if len(name) >= _TELLING}

    def _under_way(self, moment: float) -> list[r.Request]:
        return [row for row in self.view.requests() if row.intended < moment < row.ended]
