"""Calm and disturbed time: when did somebody else take of the machine, and how much can that have cost us?

Pure functions of the rows :class:`~chaoskit.history.rows.Host`. What our own services burn is no disturbance. With

    taken   = foreign + stolen                                  processors, averaged with the rows before and after
    felt    = late >= 3 ms, or waited >= 0.1
    on disk = io_pressure >= 20 %, and of what the disk moved in 5 s, others' was 4 times ours, at least 1 MB a second

a row is *disturbed* when ``taken >= max(0.25, 10 % of the processors)`` and it was felt, or on disk. (What a kernel
tells of a quarter of a second alone is off by up to half a processor: switching tasks and waking from idle are nobody's
time, and what is counted in ticks is counted by luck.) With

    slowdown    = (own + waited) / own                          seconds that a second of our processor time took
    overwhelmed = busiest >= 0.75, or late >= 50 ms, or on disk; without busiest: late >= 10 ms

The slowdown bounds what a request can have lost as long as no process of ours has more to do than it is let: beyond
that work queues up, and there is no bound. *Disturbed time* is that of these rows and the 0.5 s after each, in which
what has piled up is worked off. All other time is *calm*, also where nobody looked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf

from chaoskit.history.rows import Host
from chaoskit.history.windows import Window, inside, merge, without

TAKEN, TAKEN_SHARE = 0.25, 0.1
"""Processors, and the share of all processors, that others must take at least."""
LATE, WAITED = 0.003, 0.1
"""Seconds that a timer is late, and threads of ours that wait, from which on it is felt; idling shows a tenth."""
IO_PRESSURE, DISK = 0.2, 1e6
"""Share of the time, and bytes a second."""
JOURNAL, JOURNAL_BEHIND = 4.0, 5.0
"""How many times as much as we write the file system's journal may write of it, in nobody's name, and seconds by which
it may be later. Small files that are made, written and renamed, each with an fsync, show 2.1."""
BUSIEST, VERY_LATE, LATE_ALONE = 0.75, 0.05, 0.01
AFTERMATH = 0.5
"""Seconds in which what has piled up is worked off."""
CALM_SHARE = 0.5
"""Of requests or of a time, that must be calm for that alone to tell what the whole is."""


@dataclass(frozen=True)
class Disturbed:
    """A row that is disturbed, with the time that it disturbs: its own, and what it left behind."""

    row: Host
    window: Window
    on_disk: bool

    @property
    def taken(self) -> float:
        """Processors that others had."""
        return self.row.foreign + self.row.stolen

    @property
    def overwhelmed(self) -> bool:
        """Whether work of ours may have queued up, so that nothing bounds what was lost."""
        row = self.row
        if self.on_disk or row.late >= VERY_LATE:
            return True
        return row.late >= LATE_ALONE if row.busiest is None else row.busiest >= BUSIEST


@dataclass(frozen=True)
class Calm:
    """The disturbed rows of a history, in order. Without any all time is calm."""

    disturbed: Sequence[Disturbed] = ()

    @classmethod
    def of(cls, rows: Sequence[Host]) -> Calm:
        """Of all rows of a history."""
        rows = sorted(rows, key=lambda row: row.at)
        found = []
        for index, row in enumerate(rows):
            on_disk = _on_disk(rows[: index + 1])
            if on_disk or _taken(rows, index):
                found.append(Disturbed(row, Window(row.at - row.seconds, row.at + AFTERMATH), on_disk))
        return cls(found)

    @cached_property
    def windows(self) -> list[Window]:
        """The disturbed time."""
        return merge(each.window for each in self.disturbed)

    @cached_property
    def _starts(self) -> list[float]:
        return [each.window.start for each in self.disturbed]

    @cached_property
    def _ends(self) -> list[float]:
        return [each.window.end for each in self.disturbed]

    def during(self, start: float, end: float) -> Sequence[Disturbed]:
        """What disturbed the time from ``start`` to ``end``."""
        # Rows follow each other, so that their windows end, and but for a hair begin, in order.
        return self.disturbed[bisect_right(self._ends, start) : bisect_right(self._starts, end)]

    def calm(self, moment: float) -> bool:
        """Whether a moment lies in calm time."""
        return not inside(moment, self.windows)

    def slowdown(self, start: float, end: float) -> float:
        """How many times as long as in calm time what began at ``start`` and ended at ``end`` can have taken.

        1 in calm time, infinite where there is no bound.
        """
        found = self.during(start, end)
        if any(each.overwhelmed for each in found):
            return inf
        own = sum(each.row.own * each.row.seconds for each in found)
        waited = sum((each.row.waited or 0.0) * each.row.seconds for each in found)
        return 1.0 if not found else (own + waited) / own if own > 0 else inf

    def progress(self, start: float, end: float) -> float:
        """Seconds of calm time that work had at least from ``start`` to ``end``: a slowed second is worth the share of
        one that the slowdown leaves, an overwhelmed one nothing."""
        return sum(seconds * worth for seconds, worth in self._worth(start, end))

    def lost(self, start: float, end: float) -> tuple[float, float]:
        """Seconds from ``start`` to ``end`` that others can have taken at most: all that was overwhelmed, and of the
        rest what the slowdown took."""
        parts = list(self._worth(start, end))
        overwhelmed = sum(seconds for seconds, worth in parts if not worth)
        return overwhelmed, sum(seconds * (1 - worth) for seconds, worth in parts if worth)

    def waited(self, start: float, end: float) -> float:
        """Seconds from ``start`` to ``end`` in which threads of ours waited for a processor, or the hypervisor took it,
        as far as it was disturbed. A row counts as evenly spread; infinite where the kernel does not tell."""
        return sum(
            (inf if each.row.waited is None else each.row.waited + each.row.stolen) * shared
            for each in self.during(start, end)
            if (shared := min(end, each.row.at) - max(start, each.row.at - each.row.seconds)) > 0
        )

    def free(self, start: float, end: float) -> list[Window]:
        """The time from ``start`` to ``end`` in which nothing was overwhelmed."""
        return without([Window(start, end)], merge(each.window for each in self.disturbed if each.overwhelmed))

    def _worth(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The time from ``start`` to ``end`` in parts, in order: seconds, and what each of them is worth."""
        edges = {edge for each in self.during(start, end) for edge in (each.window.start, each.window.end)}
        for first, last in pairwise([start, *sorted(edge for edge in edges if start < edge < end), end]):
            middle = (first + last) / 2
            yield last - first, 1 / self.slowdown(middle, middle)

    def overwhelmed(self, window: Window) -> bool:
        """Whether work may have queued up within ``window``."""
        return any(each.overwhelmed for each in self.during(window.start, window.end))

    def who(self, window: Window) -> str:
        """``others took 1.4 of 2 processors``, as long as it was disturbed within ``window``."""
        found = self.during(window.start, window.end)
        if not found:
            return "calm"
        if all(each.on_disk for each in found):
            return "others kept the disk busy"
        seconds = sum(each.row.seconds for each in found)
        taken = sum(each.taken * each.row.seconds for each in found) / seconds
        stolen = sum(each.row.stolen * each.row.seconds for each in found) / seconds
        who = "the hypervisor" if stolen > taken / 2 else "others"
        return f"{who} took {taken:.1f} of {found[0].row.cores} processors"

    def told(self, window: Window, origin: float) -> str:
        """``others took 1.4 of 2 processors from +1.2 s to +2.6 s``: seconds are counted from ``origin``."""
        found = self.during(window.start, window.end)
        if not found:
            return "calm"
        start, end = found[0].window.start, max(each.row.at for each in found)
        return f"{self.who(window)} from {start - origin:+.1f} s to {end - origin:+.1f} s"


def _taken(rows: Sequence[Host], index: int) -> bool:
    row, around = rows[index], rows[max(0, index - 1) : index + 2]
    felt = row.late >= LATE or (row.waited or 0.0) >= WAITED
    taken = sum((each.foreign + each.stolen) * each.seconds for each in around) / (
        sum(each.seconds for each in around) or 1.0
    )
    return felt and taken >= max(TAKEN, TAKEN_SHARE * row.cores)


def _on_disk(rows: Sequence[Host]) -> bool:
    """Whether others kept the disk busy over the last of ``rows``."""
    last = rows[-1]
    if (last.io_pressure or 0.0) < IO_PRESSURE:
        return False
    recent = rows[bisect_left(rows, last.at - JOURNAL_BEHIND, key=lambda row: row.at) :]
    foreign = sum(row.foreign_disk * row.seconds for row in recent)
    return foreign > JOURNAL * sum(row.own_disk * row.seconds for row in recent) and last.foreign_disk >= DISK
