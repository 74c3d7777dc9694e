"""A circuit breaker seen from outside: from the calls that reach a dependency to when it opened, probed, closed.

Nothing is known of the breaker itself, so everything is read off the rate of calls. Moments are monotonic
seconds, rates are calls per second. ``quiet`` is for how many seconds no call must come before the circuit may be open.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from chaoskit.expectations._attempts import Callers, call_key
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, merge

OPEN_SHARE = 0.25
"""Below this share of the usual calls the circuit may be open."""

CLOSED_SHARE = 0.7
"""From this share of the usual calls on, over :data:`CLOSED_SPAN` seconds, it is closed again."""

CLOSED_SPAN = 1.0

SEEN = 0.05
"""Seconds by which the end of a request may be seen later than the start of what its worker did next."""


@dataclass(frozen=True)
class Call:
    """A call with its retries: from the start of the first attempt to the end of the last.

    ``freed`` is when its caller had nothing more to do with it: the client's request, where it is known, was over too.
    """

    started: float
    ended: float
    freed: float
    key: tuple[str, ...] = ()
    """The client's request that led to it, method and path; empty where the request is not known."""
    most: int = 1
    """How many calls it may be: of requests with one id, such as copies, it is not known whose attempt each was."""


@dataclass(frozen=True)
class Circuit:
    """What became of the circuit in one fault. ``fault`` is its window, ``in_place`` when it was injected.

    ``until`` is when the next fault began, or the traffic ended. ``rate`` and ``quiet`` are what it was read off with.
    """

    fault: Window
    in_place: float
    until: float
    rate: float
    quiet: float
    opened: float | None
    probes: list[list[Call]]
    closed: float | None
    called: int
    """Calls during the fault."""
    waited: float
    """Seconds, from when it opened to the end of the fault, in which no call was under way."""


def calls_of(
    exchanges: Sequence[r.Exchange], connections: Sequence[r.Connection], callers: Callers, apart: float
) -> list[Call]:
    """Calls by start. Attempts of one call that follow each other in less than ``apart`` seconds are one.

    A connection that was cut before a request came through (a reset on arrival, no upstream) was a call too.
    """
    used = {exchange.conn for exchange in exchanges}
    answered = {name: max(request.ended for request in requests) for name, requests in callers.requests.items()}
    seen = []
    for row in exchanges:
        name = callers.of(row)
        freed = max(row.ended, answered.get(name, row.ended))
        seen.append(Call(row.started, row.ended, freed, (name, *call_key(row)) if name else ()))
    seen += [
        Call(connection.opened, connection.ended, connection.ended)
        for connection in connections
        if connection.conn not in used and (connection.reset or connection.end not in ("client", "open"))
    ]
    calls: list[Call] = []
    latest: dict[tuple[str, ...], int] = {}
    for call in sorted(seen, key=lambda call: call.started):
        index = latest.get(call.key) if call.key else None
        if index is not None and call.started - calls[index].ended < apart:
            before = calls[index]
            calls[index] = replace(
                before, ended=max(before.ended, call.ended), freed=max(before.freed, call.freed),
                most=min(before.most + 1, len(callers.requests[call.key[0]])),
            )  # fmt: skip
        else:
            latest[call.key] = len(calls)
            calls.append(call)
    return calls


def windows_of(faults: Sequence[r.Fault], apart: float) -> list[tuple[Window, float]]:
    """The time of ``faults``, and when each such stretch was in place; those less than ``apart`` seconds apart are
    one, since nothing can be seen of the circuit between them."""
    found: list[tuple[Window, float]] = []
    for fault in sorted(faults, key=lambda row: row.started):
        if found and fault.started - found[-1][0].end < apart:
            window, in_place = found.pop()
            found.append((Window(window.start, max(window.end, fault.ended)), in_place))
        else:
            found.append((Window(fault.started, fault.ended), fault.injected))
    return found


def circuit_in(
    calls: Sequence[Call], since: float, fault: Window, in_place: float, until: float, quiet: float, rate: float
) -> Circuit:
    """What became of the circuit in ``fault``, with nothing but the calls from its start to ``until``."""
    called = sum(call.started in fault for call in calls)
    opened = opened_at(calls, since, fault.start, fault.end, quiet, rate)
    if opened is None:
        return Circuit(fault, in_place, until, rate, quiet, None, [], None, called, 0.0)
    probes = probes_of(calls, opened, fault.end, quiet)
    closed = closed_at(calls, fault.end, until, rate)
    under_way = merge(Window(max(opened, call.started), min(fault.end, call.ended)) for call in calls)
    waited = fault.end - opened - sum(window.length for window in under_way)
    return Circuit(fault, in_place, until, rate, quiet, opened, probes, closed, called, waited)


def opened_at(calls: Sequence[Call], since: float, start: float, end: float, quiet: float, rate: float) -> float | None:
    """When the circuit opened between ``start`` and ``end``; None when it did not. One that is open already, since a
    fault before, opens at ``start``. ``since`` is when the first of all faults began.

    That is when a call was over, and none came for ``quiet`` seconds in which a caller was free, if also at most a
    quarter of the calls that ``rate`` would bring come within four times as long: one long gap between calls that go
    on as before is chance. Workers who all wait for what the fault holds back, or with a lock for their turn, make no
    calls either, and begin the next as soon as one of them is free.
    """
    starts = [call.started for call in calls]
    first, last = bisect_left(starts, start), bisect_left(starts, end)
    made = calls[bisect_left(starts, since) :]
    over, free = sorted(call.ended for call in made), (_free(_alone(made)), _free(_by_caller(made)))
    for following in range(first, last + 1):
        before = starts[following - 1] if following else start
        after = min(starts[following] if following < len(starts) else end, end)
        idle = max(_at(spans, before) for spans in free)
        if after - idle < quiet:
            continue
        ended = bisect_left(over, before)
        moment = max(start, min(idle, *over[ended : ended + 1]))
        until = min(moment + 4 * quiet, end)
        came = bisect_right(starts, until) - following
        if came <= OPEN_SHARE * rate * (until - moment):
            return moment
    return None


def _alone(calls: Sequence[Call]) -> list[Window]:
    """When each call was under way."""
    return [Window(call.started, call.ended) for call in calls]


def _by_caller(calls: Sequence[Call]) -> list[Window]:
    """When each caller was at it: what one request calls, one after the other, it calls until it is answered."""
    found: list[Window] = []
    latest: dict[str, int] = {}
    for call in calls:
        name = call.key[0] if call.key else ""
        index = latest.get(name) if name else None
        if index is not None and call.started <= found[index].end:
            found[index] = Window(found[index].start, max(found[index].end, call.freed))
        else:
            latest[name] = len(found)
            found.append(Window(call.started, call.freed))
    return found


def _free(spans: Sequence[Window]) -> list[tuple[float, float]]:
    """The start of each span, and from when on after it another could have begun: since there was room for it.

    There is room for as many as ever were at once. Each takes the room of one that is over, or is seen to be within
    :data:`SEEN`.
    """
    ends = sorted((span.end, number) for number, span in enumerate(spans))
    room: list[tuple[float, int]] = []
    found, seen = [], 0
    for number, span in enumerate(spans):
        while seen < len(ends) and ends[seen][0] <= span.start + SEEN:
            room.append(ends[seen])
            seen += 1
        if taken := next((end for end in room if end[1] < number), None):
            room.remove(taken)
        found.append((span.start, max(span.start, (room or ends[seen:])[0][0])))
    return found


def _at(free: Sequence[tuple[float, float]], moment: float) -> float:
    """From when on there was room for another after the last that began until ``moment``; infinite before the first."""
    index = bisect_right(free, (moment, inf)) - 1
    return max(moment, free[index][1]) if index >= 0 else inf


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


def pauses_between(probes: Sequence[Sequence[Call]]) -> list[Window]:
    """From the end of each probe to the start of the next: the time in which the circuit stayed open."""
    return [Window(max(call.ended for call in before), after[0].started) for before, after in pairwise(probes)]


def closed_at(calls: Sequence[Call], since: float, until: float, rate: float) -> float | None:
    """The first call between ``since`` and ``until`` with which the calls are back at their usual ``rate``."""
    starts = [call.started for call in calls]
    for index in range(bisect_left(starts, since), bisect_left(starts, until)):
        came = bisect_left(starts, starts[index] + CLOSED_SPAN) - index
        if came >= CLOSED_SHARE * rate * CLOSED_SPAN:
            return starts[index]
    return None
