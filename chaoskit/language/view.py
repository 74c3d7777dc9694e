"""What an expectation sees: the history with its phases, and the traffic it was meant to have."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isnan
from statistics import median
from typing import TYPE_CHECKING

from chaoskit.history import rows as r
from chaoskit.history.calm import CALM_SHARE, Calm
from chaoskit.history.ends import DiedOf, unasked
from chaoskit.history.store import History
from chaoskit.history.windows import Window, inside, merge, without

if TYPE_CHECKING:
    from chaoskit.language.operation_bounds import OperationBounds

MOST_TIMES = 10
"""How many times as much as the average request one may have lost: the waits of others lie in its way, too."""


@dataclass(frozen=True)
class OperationFacts:
    """What the scenario says of an operation: requests per second, time limit in seconds, id header."""

    rate: float
    timeout: float
    id_header: str = "x-request-id"


@dataclass(frozen=True)
class View:
    """A finished history, ready to be judged. All spans are :class:`Window` of monotonic seconds.

    ``recovery_window`` is for how many seconds steady state must hold to count as recovered, ``died_of`` tells which
    faults end their target. ``in_doubt`` is for judging again what failed: what met time in which others took too much
    of the machine has the benefit of the doubt (:meth:`doubted`, :meth:`took`). ``sops`` is whether alerts could start
    any.
    """

    history: History
    operations: Mapping[str, OperationFacts] = field(default_factory=dict)
    steady_state: Mapping[str, OperationBounds] = field(default_factory=dict)
    recovery_window: float = 1.0
    died_of: DiedOf = lambda _fault, _event: False
    in_doubt: bool = False
    sops: bool = True

    @cached_property
    def phases(self) -> dict[str, Window]:
        """The phases that have ended, by name."""
        return {row.name: Window(row.started, row.ended) for row in self.history.rows(r.Phase)}

    @cached_property
    def faults(self) -> list[r.Fault]:
        """The faults that were injected, in order of their start."""
        return sorted(self.history.rows(r.Fault), key=lambda row: row.started)

    @cached_property
    def unasked_ends(self) -> list[r.Event]:
        """The exits of services that nothing in the scenario brought about, in order."""
        return unasked(self.history, self.died_of)

    @cached_property
    def fault_windows(self) -> list[Window]:
        """When at least one fault was active."""
        return merge(Window(row.started, row.ended) for row in self.faults)

    @cached_property
    def calm(self) -> Calm:
        """When somebody else took of the machine, and when nobody did."""
        return Calm.of(self.history.rows(r.Host))

    def had_time(self, windows: Sequence[Window] | None = None) -> bool:
        """Whether enough of ``windows`` (None: all phases) was calm for what comes in them at all to have come."""
        asked = merge(self.phases.values() if windows is None else windows)
        calm = sum(window.length for window in without(asked, self.calm.windows))
        return bool(asked) and calm >= CALM_SHARE * sum(window.length for window in asked)

    def doubted(self, start: float, end: float, *, slowed: bool = False) -> bool:
        """Whether the machine, and not the service, could have made what lasted from ``start`` to ``end`` what it is:
        work may have queued up; with ``slowed``, for what is about seconds, it was disturbed at all. Never, unless in
        doubt.
        """
        if not self.in_doubt:
            return False
        return bool(self.calm.during(start, end)) if slowed else self.calm.overwhelmed(Window(start, end))

    def doubted_at(self, moment: float) -> bool:
        """Whether it could be why something is there at a ``moment``, which is left of a request that it was in the way
        of."""
        return self.doubted(moment - max((facts.timeout for facts in self.operations.values()), default=0.0), moment)

    @property
    def doubted_requests(self) -> int:
        """How many requests it could have made what they are."""
        return sum(self.doubted(row.intended, row.ended) for row in self.requests())

    def took(self, start: float, end: float) -> float:
        """Seconds from ``start`` to ``end``; in doubt the most that went on without the machine in the way: who waits
        may have had to begin anew after each time that others took it."""
        if not self.in_doubt:
            return end - start
        return max((self.least(free.start, free.end) for free in self.calm.free(start, end)), default=0.0)

    def least(self, start: float, end: float) -> float:
        """Seconds from ``start`` to ``end``; in doubt less all that others can have taken: what was overwhelmed, and of
        the rest what the slowdown took, at most :data:`MOST_TIMES` what the average request waited."""
        if not self.in_doubt:
            return end - start
        overwhelmed, slowed = self.calm.lost(start, end)
        met = self.calm.during(start, end)
        waited = sum((each.row.waited or 0.0) * each.row.seconds for each in met)
        return end - start - overwhelmed - min(slowed, MOST_TIMES * waited / max(1, self.sent(start, end)))

    @cached_property
    def usual(self) -> dict[str, float]:
        """Seconds that a good answer of an operation usually takes, the median of the run; of each that has any."""
        good = {op: [row.ended - row.intended for row in rows if row.ok] for op, rows in self._requests.items()}
        return {op: median(seconds) for op, seconds in good.items() if seconds}

    @cached_property
    def gave_up(self) -> float:
        """The first moment at which somebody may have given up because others took too much of the machine; infinite
        if nobody did. From then on a breaker may answer for what is slow, at once.

        A request has failed or fallen back later than any other answer of its operation came, or a caller has left a
        dependency without its answer.
        """
        gave_up: list[r.Request | r.Exchange] = []
        for calls in self._exchanges.values():
            gave_up += [row for row in calls if row.end != "complete"]
        for rows in self._requests.values():
            plain = max((row.ended - row.intended for row in rows if row.ok and not row.fallback), default=0.0)
            gave_up += [row for row in rows if (not row.ok or row.fallback) and row.ended - row.intended > plain]
        met = (row for row in gave_up if self.calm.overwhelmed(Window(_began(row), row.ended)))
        return min((row.ended for row in met), default=inf)

    @cached_property
    def _requests(self) -> dict[str, list[r.Request]]:
        by_op: dict[str, list[r.Request]] = {name: [] for name in self.operations}
        for row in sorted(self.history.rows(r.Request), key=lambda row: row.intended):
            by_op.setdefault(row.op, []).append(row)
        return by_op

    @cached_property
    def _exchanges(self) -> dict[str, list[r.Exchange]]:
        by_proxy: dict[str, list[r.Exchange]] = {}
        for row in sorted(self.history.rows(r.Exchange), key=lambda row: row.started):
            by_proxy.setdefault(row.proxy, []).append(row)
        return by_proxy

    def requests(self, op: str | None = None, windows: Sequence[Window] | None = None) -> list[r.Request]:
        """Requests by intended send time, of one operation or all, within ``windows`` (None: all the time)."""
        found = self._requests.get(op, []) if op is not None else [q for qs in self._requests.values() for q in qs]
        return found if windows is None else [row for row in found if inside(row.intended, windows)]

    def sent(self, start: float, end: float) -> int:
        """How many requests were to be sent from ``start`` to ``end``."""
        return bisect_left(self._moments, end) - bisect_left(self._moments, start)

    @cached_property
    def _moments(self) -> list[float]:
        return sorted(row.intended for rows in self._requests.values() for row in rows)

    def exchanges(self, proxy: str, windows: Sequence[Window] | None = None) -> list[r.Exchange]:
        """HTTP exchanges seen at a proxy, by start."""
        found = self._exchanges.get(proxy, [])
        return found if windows is None else [row for row in found if inside(row.started, windows)]

    def samples(self, service: str, metric: str) -> list[r.Sample]:
        """Samples of one metric. A name without labels gives the sum over all label sets, scrape by scrape. What is NaN
        is not known, nor is a sum of which a part is."""
        rows = [row for row in self.history.rows(r.Sample) if row.service == service]
        exact = [row for row in rows if row.name == metric]
        if exact:
            return [row for row in exact if not isnan(row.value)]
        sums: dict[float, float] = {}
        for row in rows:
            if row.name.startswith(metric + "{"):
                sums[row.at] = sums.get(row.at, 0.0) + row.value
        known = sorted((at, value) for at, value in sums.items() if not isnan(value))
        return [r.Sample(service=service, name=metric, at=at, value=value) for at, value in known]

    def metric_names(self, service: str) -> list[str]:
        """Names (without labels) of all metrics that were seen of a service."""
        return sorted({row.name.partition("{")[0] for row in self.history.rows(r.Sample) if row.service == service})

    @property
    def first_fault(self) -> float | None:
        """When the first fault began."""
        return self.faults[0].started if self.faults else None

    @property
    def last_fault_end(self) -> float | None:
        """When the last fault was lifted."""
        return max((row.ended for row in self.faults), default=None)

    @property
    def last_cure(self) -> float | None:
        """Since when nothing has acted any more: recovery begins. Of a kill that is its last strike."""
        return max((row.ended if row.over is None else row.over for row in self.faults), default=None)


def _began(row: r.Request | r.Exchange) -> float:
    return row.intended if isinstance(row, r.Request) else row.started
