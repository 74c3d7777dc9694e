"""A circuit breaker seen from outside: from the calls that reach a dependency to when it opened, probed, closed.

Nothing is known of the breaker itself, so everything is read off the rate of calls. Moments are monotonic
seconds, rates are calls per second. ``quiet`` is for how many seconds no call must come before the circuit may be open.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from chaoskit.expectations._attempts import Callers, call_key
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, merge

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
    key: tuple[str, ...] = ()
    """The client's request that led to it, method and path; empty where the request is not known."""


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
    seen = [
        Call(row.started, row.ended, (name, *call_key(row)) if (name := callers.of(row)) else ()) for row in exchanges
    ]
    seen += [
        Call(connection.opened, connection.ended)
        for connection in connections
        if connection.conn not in used and (connection.reset or connection.end not in ("client", "open"))
    ]
    calls: list[Call] = []
    latest: dict[tuple[str, ...], int] = {}
    for call in sorted(seen, key=lambda call: call.started):
        index = latest.get(call.key) if call.key else None
        if index is not None and call.started - calls[index].ended < apart:
            calls[index] = replace(calls[index], ended=max(calls[index].ended, call.ended))
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
    calls: Sequence[Call], fault: Window, in_place: float, until: float, quiet: float, rate: float
) -> Circuit:
    """What became of the circuit in ``fault``, with nothing but the calls from its start to ``until``."""
    called = sum(call.started in fault for call in calls)
    opened = opened_at(calls, fault.start, fault.end, quiet, rate)
    if opened is None:
        return Circuit(fault, in_place, until, rate, quiet, None, [], None, called, 0.0)
    probes = probes_of(calls, opened, fault.end, quiet)
    closed = closed_at(calls, fault.end, until, rate)
    under_way = merge(Window(max(opened, call.started), min(fault.end, call.ended)) for call in calls)
    waited = fault.end - opened - sum(window.length for window in under_way)
    return Circuit(fault, in_place, until, rate, quiet, opened, probes, closed, called, waited)


def opened_at(calls: Sequence[Call], start: float, end: float, quiet: float, rate: float) -> float | None:
    """When the circuit opened between ``start`` and ``end``; None when it did not. One that is open already, since the
    fault before, opens at ``start``.

    That is the first call after which there is none for ``quiet`` seconds, and after which at most a quarter of the
    calls that ``rate`` would bring come within four times as long: one long gap between calls that go on as before is
    chance.
    """
    starts = [call.started for call in calls]
    first, last = bisect_left(starts, start), bisect_left(starts, end)
    for following, moment in enumerate([start, *starts[first:last]], first):
        after = min(starts[following] if following < len(starts) else end, end)
        before = starts[first - 1] if following == first and first else moment
        if after - before < quiet:
            continue
        until = min(moment + 4 * quiet, end)
        came = bisect_right(starts, until) - following
        if came <= OPEN_SHARE * rate * (until - moment):
            return moment
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
