"""Whether a circuit breaker protects a dependency, judged from the calls that its proxy saw.

The usual rate of calls is that of the steady phase. Attempts of one operation (same correlation id) are one
call. What is read off the calls, with ``shortest`` for the lower limit of ``probes_every``:

* **opens**: the first call of the fault that no other follows for ``shortest / 2``, if also at most a quarter of
  the usual calls come in the ``2 * shortest`` after it.
* **probe**: a call between that moment and the end of the fault. Calls that come less than ``shortest / 2``
  after the end of another belong to the same probe.
* **probes_every**: the median time from the *end* of a probe to the start of the next, since that is how long a
  breaker waits; a probe that takes long to fail does not count as waiting.
* **closes**: the first call after the end of the fault from which on 70 % of the usual calls come within 1 s.

The fault must be one that lets calls reach the proxy (late, cut, wrong answers). While a proxy is down there
are no calls to be seen, whatever the breaker does; that shows as an open circuit without probes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from chaoskit.expectations._attempts import matching
from chaoskit.expectations._circuit import (
    CLOSED_SPAN,
    Call,
    calls_of,
    closed_at,
    opened_at,
    pauses_between,
    probes_of,
)
from chaoskit.expectations._evidence import SHOWN, many, moment, vacuous, with_unit
from chaoskit.expectations._fields import Count, Regex
from chaoskit.expectations.base import Expectation, Finding, Outcome, check
from chaoskit.history import rows as r
from chaoskit.history.view import View
from chaoskit.history.windows import Window
from chaoskit.scenario.bounds import Bound
from chaoskit.scenario.types import Duration, DurationBound, ServiceName, problem
from chaoskit.units import format_duration, format_rate

PAUSES_NEEDED = 2

USUAL_CALLS = 4
"""Calls that usually come in half a probe interval; with fewer, their absence says little."""


def _with_lower_limit(bound: Bound) -> Bound:
    if bound.low <= 0:
        raise problem(f"{bound} has no lower limit, so any call would be a probe", ["1s ± 30%", "0.8s..2s"])
    return bound


@dataclass(frozen=True)
class Seen:
    """What the proxy saw. ``fault`` is the time of the faults that the breaker is there for."""

    calls: list[Call]
    rate: float
    fault: Window
    in_place: float
    opened: float | None
    watched: float


class Breaker(Expectation):
    """Bounds on the circuit breaker in front of service ``on``.

    ``opens_within`` counts from when the fault was in place, ``closes_within`` from its end: that of the faults
    on ``on``, or of all faults when none acts on it. ``calls_while_open`` bounds the calls of every probe.
    ``path`` (a regular expression the path begins with) and ``method`` limit what counts as a call.
    """

    on: ServiceName
    opens_within: Duration
    probes_every: Annotated[DurationBound, AfterValidator(_with_lower_limit)]
    closes_within: Duration
    calls_while_open: Count | None = None
    path: Regex | None = None
    method: str | None = None

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each bound, ``breaker.SERVICE.BOUND``."""
        seen = self.look(view)
        if isinstance(seen, str):
            for name, expected in self._expected():
                yield vacuous(f"breaker.{self.on}.{name}", expected, seen, (name,))
            return
        yield self._opens(seen, view)
        if seen.opened is None:
            for name, expected in self._expected()[1:]:
                yield vacuous(f"breaker.{self.on}.{name}", expected, "it never opened", (name,), len(seen.calls))
            return
        probes = probes_of(seen.calls, seen.opened, seen.fault.end, self.probes_every.low / 2)
        yield self._probes(seen, seen.opened, probes, view)
        yield self._closes(seen, view)
        if self.calls_while_open is not None:
            most = max(probes, key=len, default=[])
            finding = check(
                f"breaker.{self.on}.calls_while_open", self.calls_while_open, len(most), len(probes),
                path=("calls_while_open",), worst=self._when(view, most[0]) if most else "",
                rows=[self._when(view, call) for call in most[:SHOWN]],
            )  # fmt: skip
            yield with_unit(finding, lambda text: f"{many(text, 'call')} in one probe")

    def _expected(self) -> list[tuple[str, str]]:
        expected = [
            ("opens_within", f"opens within {format_duration(self.opens_within)} of the fault"),
            ("probes_every", f"a probe every {self.probes_every}"),
            ("closes_within", f"closes within {format_duration(self.closes_within)} of the fault's end"),
        ]
        if self.calls_while_open is not None:
            expected.append(("calls_while_open", str(self.calls_while_open)))
        return expected

    def look(self, view: View) -> Seen | str:
        """What was seen, or why nothing can be read off it. The timeline figure draws it."""
        faults = [fault for fault in view.faults if fault.target == self.on] or view.faults
        steady = view.phases.get("steady")
        if not faults or steady is None or not steady.length:
            return "there was no fault" if not faults else "there was no steady phase to compare with"
        shortest = self.probes_every.low
        connections: list[r.Connection] = []
        if self.path is None and self.method is None:  # a connection without a request has neither
            connections = [row for row in view.history.of(r.Connection) if row.proxy == self.on]
        calls = calls_of(matching(view.exchanges(self.on), self.path, self.method), connections, apart=shortest / 2)
        rate = sum(call.started in steady for call in calls) / steady.length
        if rate * shortest / 2 < USUAL_CALLS:
            return (
                f"{format_rate(rate)} calls in the steady phase are too few to see a circuit open; "
                f"{format_rate(2 * USUAL_CALLS / shortest)} are needed"
            )
        fault = Window(faults[0].started, max(row.ended for row in faults))
        usual = len(view.requests(windows=[steady])) / steady.length
        offered = len(view.requests(windows=[fault])) / fault.length if fault.length else 0.0
        if offered < usual / 2:
            return f"the clients sent {format_rate(offered)} during the fault and {format_rate(usual)} before it"
        if not any(call.started in fault for call in calls):
            return f"no call reached {self.on} during the fault"
        opened = opened_at(calls, fault.start, fault.end, shortest, rate)
        watched = max(row.intended for row in view.requests())
        return Seen(calls, rate, fault, faults[0].injected, opened, watched)

    def _opens(self, seen: Seen, view: View) -> Finding:
        came = [call for call in seen.calls if call.started in seen.fault]
        rates = f"{format_rate(len(came) / seen.fault.length)} calls during the fault, {format_rate(seen.rate)} before"
        if seen.opened is None:
            return self._finding("opens_within", False, "never opened", len(came), rates)
        took = max(0.0, seen.opened - seen.in_place)
        told = f"after {format_duration(took)}"
        rows = tuple(self._when(view, call) for call in came if call.started > seen.opened)
        return self._finding("opens_within", took <= self.opens_within, told, len(came), rates, rows[:SHOWN])

    def _probes(self, seen: Seen, opened: float, probes: list[list[Call]], view: View) -> Finding:
        pauses = pauses_between(probes)
        rows = tuple(self._when(view, probe[0]) for probe in probes[:SHOWN])
        if len(pauses) >= PAUSES_NEEDED:
            value = statistics.median(pauses)
            held = self.probes_every.holds(value)
            spread = f"{format_duration(min(pauses))} to {format_duration(max(pauses))} between {len(probes)} probes"
            return self._finding("probes_every", held, format_duration(value), len(pauses), spread, rows)
        calls = [call for probe in probes for call in probe]
        busy = max((call.ended - call.started for call in calls), default=0.0)
        open_for = seen.fault.end - opened
        told = f"{many(str(len(probes)), 'probe')} ({many(str(len(calls)), 'call')}) in {format_duration(open_for)}"
        # Calls that follow each other for so long without a pause are no probe; so few in so long are too rare.
        restless = max((probe[-1].started - probe[0].started for probe in probes), default=0.0)
        longest = self.probes_every.high
        if restless >= 2 * longest or open_for >= (PAUSES_NEEDED + 2) * (longest + busy):
            return self._finding("probes_every", False, told, len(pauses), rows=rows)
        why = f"{told}; {PAUSES_NEEDED + 1} probes are needed, so let the fault last longer"
        return vacuous(f"breaker.{self.on}.probes_every", self._expected()[1][1], why, ("probes_every",), len(pauses))

    def _closes(self, seen: Seen, view: View) -> Finding:
        end = seen.fault.end
        closed = closed_at(seen.calls, end, seen.rate)
        after = [call for call in seen.calls if call.started >= end]
        rows = tuple(self._when(view, call) for call in after[:SHOWN])
        if closed is not None:
            held, told = closed - end <= self.closes_within, f"after {format_duration(closed - end)}"
            return self._finding("closes_within", held, told, len(after), rows=rows)
        watched = max(0.0, seen.watched - end - CLOSED_SPAN)
        if watched >= self.closes_within:
            return self._finding(
                "closes_within", False, f"not within {format_duration(watched)}", len(after), rows=rows
            )
        needed = format_duration(self.closes_within + CLOSED_SPAN)
        why = (
            f"not closed when the traffic ended {format_duration(max(0.0, seen.watched - end))} after the fault; "
            f"{needed} are needed, give timeline.after a length"
        )
        return vacuous(f"breaker.{self.on}.closes_within", self._expected()[2][1], why, ("closes_within",), len(after))

    def _finding(
        self, name: str, held: bool, seen: str, samples: int, worst: str = "", rows: tuple[str, ...] = ()
    ) -> Finding:
        outcome = Outcome.HELD if held else Outcome.VIOLATED
        expected = dict(self._expected())[name]
        return Finding(f"breaker.{self.on}.{name}", outcome, expected, seen, samples, (name,), worst, rows)

    def _when(self, view: View, call: Call) -> str:
        at = moment(view, call.started, call.started)
        return f"{call.id or 'call'} at {at} ({format_duration(call.ended - call.started)})"
