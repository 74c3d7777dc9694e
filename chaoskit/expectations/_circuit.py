"""A circuit breaker seen from outside: from the calls that reach a dependency to when it opened, probed, closed.

Nothing is known of the breaker itself, so everything is read off the rate of calls. Moments are monotonic
seconds, rates are calls per second.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from chaoskit.history import rows as r

OPEN_SHARE = 0.25
"""Below this share of the usual calls the circuit may be open."""

CLOSED_SHARE = 0.7
"""From this share of the usual calls on, over :data:`CLOSED_SPAN` seconds, it is closed again."""

CLOSED_SPAN = 1.0


@dataclass(frozen=True)
class Call:
    """A call with its retries: from the start of the first attempt to the end of the last."""

    started: float
    ended: float
    id: str = ""


def calls_of(exchanges: Sequence[r.Exchange], connections: Sequence[r.Connection], apart: float) -> list[Call]:
    """Calls by start. Attempts with one id that follow each other in less than ``apart`` seconds are one call.

    A connection that was cut before a request came through (a reset on arrival, no upstream) was a call too.
    """
    used = {exchange.conn for exchange in exchanges}
    seen = [Call(exchange.started, exchange.ended, exchange.id) for exchange in exchanges]
    seen += [
        Call(connection.opened, connection.ended)
        for connection in connections
        if connection.conn not in used and (connection.reset or connection.end not in ("client", "open"))
    ]
    calls: list[Call] = []
    latest: dict[str, int] = {}
    for call in sorted(seen, key=lambda call: call.started):
        index = latest.get(call.id) if call.id else None
        if index is not None and call.started - calls[index].ended < apart:
            calls[index] = replace(calls[index], ended=max(calls[index].ended, call.ended))
        else:
            latest[call.id] = len(calls)
            calls.append(call)
    return calls


def opened_at(calls: Sequence[Call], start: float, end: float, shortest: float, rate: float) -> float | None:
    """When the circuit opened between ``start`` and ``end``; None when it did not.

    That is the first call after which there is none for half the ``shortest`` probe interval, and after which
    at most a quarter of the calls that ``rate`` would bring come within two such intervals: one long gap between
    calls that go on as before is chance.
    """
    starts = [call.started for call in calls]
    for index in range(bisect_left(starts, start), bisect_left(starts, end)):
        after = min(starts[index + 1] if index + 1 < len(starts) else end, end)
        if after - starts[index] < shortest / 2:
            continue
        until = min(starts[index] + 2 * shortest, end)
        came = bisect_right(starts, until) - index - 1
        if came <= OPEN_SHARE * rate * (until - starts[index]):
            return starts[index]
    return None


def probes_of(calls: Sequence[Call], opened: float, end: float, apart: float) -> list[list[Call]]:
    """The calls that came through while the circuit was open, as probes: calls less than ``apart`` seconds after
    the end of the one before belong to the same probe."""
    probes: list[list[Call]] = []
    reached = 0.0
    for call in calls:
        if not opened < call.started < end:
            continue
        if probes and call.started - reached < apart:
            probes[-1].append(call)
            reached = max(reached, call.ended)
        else:
            probes.append([call])
            reached = call.ended
    return probes


def pauses_between(probes: Sequence[Sequence[Call]]) -> list[float]:
    """Seconds from the end of each probe to the start of the next: how long the circuit stayed open."""
    return [after[0].started - max(call.ended for call in before) for before, after in pairwise(probes)]


def closed_at(calls: Sequence[Call], since: float, rate: float) -> float | None:
    """The first call from ``since`` on with which the calls are back at their usual ``rate``; None if never."""
    starts = [call.started for call in calls]
    for index in range(bisect_left(starts, since), len(starts)):
        came = bisect_left(starts, starts[index] + CLOSED_SPAN) - index
        if came >= CLOSED_SHARE * rate * CLOSED_SPAN:
            return starts[index]
    return None
