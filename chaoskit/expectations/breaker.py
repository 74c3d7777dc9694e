"""Whether a circuit breaker protects a dependency, judged from the calls that its proxy saw.

The usual rate of calls is that of the steady phase. Attempts of one call (same request, method and path) are one
call. Each fault is judged by itself: what comes in the healthy time before it, or after it has closed, counts nowhere.
Faults that overlap are one. What is read off the calls, with ``quiet`` for half the lower limit of ``probes_every``
(without one: the time in which ten calls usually come):

* **opens**: the first end of a call of the fault after which none comes for ``quiet``, if also at most a quarter of
  the usual calls come in the ``4 * quiet`` after it. The start of the fault, where the circuit is still open then.
  Callers who all still wait (for the call, or to answer their client) cannot call: that time is no part of ``quiet``.
* **probe**: a call between that moment and the end of the fault. Calls that come less than ``quiet``
  after the end of another belong to the same probe.
* **probes_every**: the median time from the *end* of a probe to the start of the next, since that is how long a
  breaker waits; a probe that takes long to fail does not count as waiting.
* **closes**: the first call between the end of the fault and the start of the next from which on 70 % of the usual
  calls come within 1 s.

The fault must be one that lets calls reach the proxy (late, cut, swallowed, wrong answers). While a proxy is down there
are no calls to be seen, whatever the breaker does: a breaker on what a fault takes ``down`` is refused at load.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, model_validator

from chaoskit.base.units import format_duration, format_rate
from chaoskit.expectations._attempts import COPIES, Callers, matching, unseen
from chaoskit.expectations._circuit import CLOSED_SPAN, Call, Circuit, calls_of, circuit_in, pauses_between, windows_of
from chaoskit.expectations._evidence import SHOWN, excess, many, moment, vacuous
from chaoskit.expectations._fields import Count, Regex, at_least_one
from chaoskit.expectations._lengthened import long_anyway
from chaoskit.history import rows as r
from chaoskit.history.windows import Window
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Expectation, Finding, NeverKnown, Outcome
from chaoskit.language.types import CalledService, Duration, DurationBound, problem
from chaoskit.language.view import View

if TYPE_CHECKING:
    from chaoskit.language.planned import Given, PlannedFault

PAUSES_NEEDED = 2

USUAL_CALLS = 4
"""Calls that usually come in ``quiet``; with fewer, their absence says little."""

RARE_CALLS = 10
"""The same where no interval of probes is given: chance alone hardly ever (e^-10) makes so long a gap."""

LATE = 0.1
"""Seconds that a fault may be shorter than planned, since it takes a moment to be in place."""

_ORDER = (Outcome.HELD, Outcome.INCONCLUSIVE, Outcome.VACUOUS, Outcome.VIOLATED)

BOUNDS = ("opens_within", "probes_every", "closes_within", "calls_while_open")


def _with_lower_limit(bound: Bound) -> Bound:
    if bound.low <= 0:
        raise problem(f"{bound} has no lower limit, so any call would be a probe", ["1s ± 30%", "0.8s..2s"])
    return bound


@dataclass(frozen=True)
class _Judged:
    """One bound in one fault, with the ``calls`` behind it; ``size`` orders those with the same outcome."""

    outcome: Outcome
    seen: str
    samples: int = 0
    worst: str = ""
    calls: Sequence[Call] = ()
    size: float = 0.0
    because: str = ""


class Breaker(Expectation):
    """Bounds on the circuit breaker in front of service ``on``.

    ``opens_within`` counts from when the fault was in place, ``closes_within`` from its end: that of each fault
    on ``on``, or of all faults when none acts on it. ``calls_while_open`` bounds the calls of every probe.
    ``path`` (a regular expression the path begins with) and ``method`` limit what counts as a call.
    """

    on: CalledService
    opens_within: Duration | None = None
    probes_every: Annotated[DurationBound, AfterValidator(_with_lower_limit)] | None = None
    closes_within: Duration | None = None
    calls_while_open: Count | None = None
    path: Regex | None = None
    method: str | None = None

    _asked = model_validator(mode="after")(at_least_one(*BOUNDS))

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """Faults in which no call can be seen; that end before it can be known whether the circuit opened and was
        probed; and times between them in which it cannot be known whether it closed."""
        yield from unseen(given.faults, self.on, "breaker")
        faults = [each for each in given.faults if each.fault.target == self.on] or given.faults
        acting = sorted(faults, key=lambda each: each.at)
        joined: list[tuple[PlannedFault, Window]] = []
        for each in acting:
            window = Window(each.at, each.at + each.length)
            if joined and window.start - joined[-1][1].end <= self._quiet(inf):
                first, before = joined.pop()
                joined.append((first, Window(before.start, max(before.end, window.end))))
            else:
                joined.append((each, window))
        needed, why = self._needed()
        for first, window in joined:
            if window.length < needed - 1e-9:
                length = needed - window.length + first.length
                what = (
                    f"{format_duration(window.length)} of fault are too short to judge the breaker on {self.on}: {why}"
                )
                yield NeverKnown((*first.path, "for"), what, [f"for: {format_duration(length)} or longer"])
        if self.closes_within is None:
            return
        span = self.closes_within + CLOSED_SPAN
        for (_, before), (second, after) in pairwise(joined):
            if after.start - before.end < span - 1e-9:
                what = (
                    f"{format_duration(after.start - before.end)} after the fault before are too short to judge "
                    f"whether the breaker on {self.on} closes within {format_duration(self.closes_within)}"
                )
                yield NeverKnown((*second.path, "at"), what, [f"at: {format_duration(before.end + span)} or later"])

    def awaits(self, view: View, moment: float) -> bool:
        """Whether the circuit may still close in time after the last fault."""
        end = max((fault.ended for fault in self._faults(view)), default=inf)
        if self.closes_within is None or moment >= end + self.closes_within + CLOSED_SPAN + LATE:
            return False
        seen = self.look(view)
        return not isinstance(seen, str) and seen[-1].opened is not None and seen[-1].closed is None

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each bound, ``breaker.SERVICE.BOUND``: that of the fault in which it is met worst."""
        seen = self.look(view)
        judges = {
            "opens_within": self._opens,
            "probes_every": self._probes,
            "closes_within": self._closes,
            "calls_while_open": self._calls,
        }
        for name, expected in self._expected():
            if isinstance(seen, str):
                yield vacuous(f"breaker.{self.on}.{name}", expected, seen, (name,), certain=self._certain(view))
                continue
            told = [judges[name](circuit, view) for circuit in seen]
            worst = max(told, key=lambda one: (_ORDER.index(one.outcome), one.size))
            text = worst.seen
            if len(told) > 1:
                began = moment(view, seen[told.index(worst)].fault.start, 0.0)
                text += f", in the fault at {began}, the worst of {len(told)}"
            yield Finding(
                f"breaker.{self.on}.{name}", worst.outcome, expected, text, sum(one.samples for one in told), (name,),
                worst.worst, tuple(_told(view, call) for call in worst.calls[:SHOWN]), worst.because,
            )  # fmt: skip

    def _expected(self) -> Iterator[tuple[str, str]]:
        """The bounds that were asked for, in words."""
        if self.opens_within is not None:
            yield "opens_within", f"opens within {format_duration(self.opens_within)} of the fault"
        if self.probes_every is not None:
            yield "probes_every", f"a probe every {self.probes_every}"
        if self.closes_within is not None:
            yield "closes_within", f"closes within {format_duration(self.closes_within)} of the fault's end"
        if self.calls_while_open is not None:
            yield "calls_while_open", str(self.calls_while_open)

    def _quiet(self, rate: float) -> float:
        """For how many seconds no call must come."""
        return self.probes_every.low / 2 if self.probes_every is not None else RARE_CALLS / rate

    def _needed(self) -> tuple[float, str]:
        """Seconds that a fault must last for all that is asked of it to be known, and why, as far as the scenario
        alone can tell."""
        opens = self.opens_within or 0.0
        words = [f"it may open after {format_duration(opens)}"] if opens else []
        if self.probes_every is None:
            return opens, "".join(words)
        if self.probes_every.high < inf:
            watched = (PAUSES_NEEDED + 1) * self.probes_every.high
            words.append(f"{PAUSES_NEEDED + 1} probes, {self.probes_every}, may take {format_duration(watched)}")
        else:
            watched = self._quiet(inf)
            words.append(f"{format_duration(watched)} without a call tell that it has opened")
        return opens + watched, " and ".join(words)

    # Seeing

    def _faults(self, view: View) -> list[r.Fault]:
        return [fault for fault in view.faults if fault.target == self.on] or view.faults

    def look(self, view: View) -> list[Circuit] | str:
        """The circuit in each fault, or why nothing can be read off it. The timeline figure draws it."""
        faults, steady = self._faults(view), view.phases.get("steady")
        if not faults or steady is None or not steady.length:
            return "there was no fault" if not faults else "there was no steady phase to compare with"
        exchanges, connections = self._came(view)
        callers = Callers(view.requests())
        usual_calls = calls_of(exchanges, connections, callers, apart=inf)
        rate = sum(call.started in steady for call in usual_calls) / steady.length
        if not rate:
            return f"no call reached {self.on} in the steady phase"
        quiet = self._quiet(rate)
        if rate * quiet < USUAL_CALLS:
            return (
                f"{format_rate(rate)} calls in the steady phase are too few to see a circuit open; "
                f"{format_rate(USUAL_CALLS / quiet)} are needed"
            )
        calls = calls_of(exchanges, connections, callers, apart=quiet)
        usual = len(view.requests(windows=[steady])) / steady.length
        windows = windows_of(faults, apart=quiet)
        watched = max(row.intended for row in view.requests())
        ends = [*(window.start for window, _ in windows[1:]), watched]
        for window, _ in windows:
            offered = len(view.requests(windows=[window])) / window.length if window.length else 0.0
            if offered < usual / 2:
                return f"the clients sent {format_rate(offered)} during the fault and {format_rate(usual)} before it"
        circuits = [
            circuit_in(calls, windows[0][0].start, window, in_place, until, quiet, rate)
            for (window, in_place), until in zip(windows, ends, strict=True)
        ]
        if not all(circuit.called for circuit in circuits):
            unseen = ": its proxy was down; the fault refuse lets calls be seen" if any(map(self._down, faults)) else ""
            return f"no call reached {self.on} during the fault{unseen}"
        if any(_mute(circuit, view) for circuit in circuits):
            return "no client was answered while no call came, so a breaker cannot be told from a service that hangs"
        return circuits

    def _came(self, view: View) -> tuple[list[r.Exchange], list[r.Connection]]:
        connections: list[r.Connection] = []
        if self.path is None and self.method is None:  # a connection without a request has neither
            connections = [row for row in view.history.rows(r.Connection) if row.proxy == self.on]
        return matching(view.exchanges(self.on), self.path, self.method), connections

    def _down(self, fault: r.Fault) -> bool:
        return fault.kind == "down" and fault.target == self.on

    def _certain(self, view: View) -> bool:
        """Whether no machine is why nothing can be read off: there was no fault, its proxy was down, or no call came in
        a time that was calm."""
        faults, steady = self._faults(view), view.phases.get("steady")
        if not faults or steady is None:
            return True
        exchanges, connections = self._came(view)
        moments = [*(row.started for row in exchanges), *(row.opened for row in connections)]
        asked = [(steady, False), *((Window(fault.started, fault.ended), self._down(fault)) for fault in faults)]
        return any(
            not any(moment in window for moment in moments) and (down or view.had_time([window]))
            for window, down in asked
        )

    # Judging one fault

    def _opens(self, circuit: Circuit, view: View) -> _Judged:
        assert self.opens_within is not None
        fault, opened = circuit.fault, circuit.opened
        rates = (
            f"{format_rate(circuit.called / fault.length)} calls during the fault, {format_rate(circuit.rate)} before"
        )
        if opened is None:
            needed = self.opens_within + circuit.quiet
            lasted = view.took(circuit.in_place, fault.end)
            if lasted + LATE < needed:
                why = (
                    f"not open {format_duration(lasted)} after the fault, which is too short to know; "
                    f"{format_duration(needed)} are needed"
                )
                return _Judged(Outcome.VACUOUS, why, circuit.called, rates)
            return _Judged(Outcome.VIOLATED, "never opened", circuit.called, rates, size=inf)
        took = view.took(circuit.in_place, max(opened, circuit.in_place))
        outcome = Outcome.HELD if took <= self.opens_within else Outcome.VIOLATED
        return _Judged(outcome, f"after {format_duration(took)}", circuit.called, rates, _firsts(circuit), took)

    def _probes(self, circuit: Circuit, view: View) -> _Judged:
        assert self.probes_every is not None
        bound, probes, opened = self.probes_every, circuit.probes, circuit.opened
        if opened is None:
            return self._not_open(circuit)
        all_ = pauses_between(probes)
        left = [pause for pause in all_ if not view.doubted(pause.start, pause.end)]
        pauses = [pause.length for pause in left]
        if len(pauses) >= PAUSES_NEEDED:
            value = statistics.median(pauses)
            spread = f"{format_duration(min(pauses))} to {format_duration(max(pauses))} between {len(probes)} probes"
            outcome = Outcome.HELD if bound.holds(value) else Outcome.VIOLATED
            if view.in_doubt and bound.reaches(
                statistics.median(view.least(pause.start, pause.end) for pause in left), value
            ):
                outcome = Outcome.VACUOUS
            seen = format_duration(value)
            if outcome is Outcome.HELD and not long_anyway(bound, left, view):
                outcome = Outcome.INCONCLUSIVE
                seen += f", while {view.calm.told(Window(opened, circuit.fault.end), circuit.fault.start)}"
            return _Judged(outcome, seen, len(pauses), spread, _firsts(circuit), excess(bound, value))
        starts = [call.started for probe in probes for call in probe]
        calls = many(str(len(starts)), "call")
        if len(starts) > len(probes):
            calls += f", one every {format_duration((starts[-1] - starts[0]) / (len(starts) - 1))}"
        told = f"{many(str(len(probes)), 'probe')} ({calls}) in {format_duration(circuit.fault.end - opened)}"
        # Calls that follow each other for so long without a pause are no probe; so few in so long are too rare.
        restless = max((view.took(probe[0].started, probe[-1].started) for probe in probes), default=0.0)
        enough = (PAUSES_NEEDED + 1) * bound.high
        waited = min(circuit.waited, view.took(opened, circuit.fault.end))
        too_rare = len(all_) < PAUSES_NEEDED and waited + LATE >= enough
        if restless >= 2 * bound.high or too_rare:
            return _Judged(Outcome.VIOLATED, told, len(starts), calls=_firsts(circuit), size=inf)
        needed = format_duration(circuit.fault.length + enough - waited)
        why = f"{told}; {PAUSES_NEEDED + 1} probes are needed, so let the fault last {needed}"
        return _Judged(Outcome.VACUOUS, why, len(pauses), calls=_firsts(circuit))

    def _closes(self, circuit: Circuit, view: View) -> _Judged:
        assert self.closes_within is not None
        if circuit.opened is None:
            return self._not_open(circuit)
        end = circuit.fault.end
        if circuit.closed is not None:
            took = view.took(end, circuit.closed)
            outcome = Outcome.HELD if took <= self.closes_within else Outcome.VIOLATED
            return _Judged(outcome, f"after {format_duration(took)}", 1, size=took)
        watched = view.took(end, max(end, circuit.until - CLOSED_SPAN))
        if watched + LATE >= self.closes_within:
            return _Judged(Outcome.VIOLATED, f"not within {format_duration(watched)}", 1, size=inf)
        why = (
            f"not closed {format_duration(max(0.0, circuit.until - end))} after the fault, when the next began or the "
            f"traffic ended; {format_duration(self.closes_within + CLOSED_SPAN)} are needed"
        )
        return _Judged(Outcome.VACUOUS, why)

    def _calls(self, circuit: Circuit, view: View) -> _Judged:
        assert self.calls_while_open is not None
        if circuit.opened is None:
            return self._not_open(circuit)
        if not circuit.probes:
            lasted = format_duration(circuit.fault.end - circuit.opened)
            return _Judged(Outcome.VACUOUS, f"no probe in the {lasted} that it was open")
        bound = self.calls_while_open
        probes = [probe for probe in circuit.probes if not _doubted(probe, circuit.quiet, view)]
        if not probes:
            return _Judged(Outcome.VACUOUS, "no probe that others were not in the way of")
        over = [probe for probe in probes if not bound.reaches(len(probe), _most(probe))]
        worst = max(over or probes, key=lambda probe: max(excess(bound, len(probe)), excess(bound, _most(probe))))
        told = many(str(len(worst)), "call")
        if not over and not (bound.holds(len(worst)) and bound.holds(_most(worst))):
            told = f"between {len(worst)} and {many(str(_most(worst)), 'call')} in one probe: {COPIES}"
            return _Judged(Outcome.VACUOUS, told, len(probes), calls=worst)
        outcome, all_ = Outcome.VIOLATED if over else Outcome.HELD, len(probes)
        many_over = f"{len(over)} of {many(str(all_), 'probe')} {'is' if len(over) == 1 else 'are'} out of bounds"
        return _Judged(outcome, f"{told} in one probe", all_, many_over, worst, excess(bound, len(worst)))

    def _not_open(self, circuit: Circuit) -> _Judged:
        because = f"breaker.{self.on}.opens_within" if self.opens_within is not None else ""
        why = f"it did not open in {format_duration(circuit.fault.length)}"
        return _Judged(Outcome.VACUOUS, why, circuit.called, because=because)


def _mute(circuit: Circuit, view: View) -> bool:
    """Whether nobody who asked since it had opened was answered before the next call, if only with a refusal."""
    if circuit.opened is None:
        return False
    until = circuit.probes[0][0].started if circuit.probes else circuit.fault.end
    asked = view.requests(windows=[Window(circuit.opened, until)])
    return not any(row.ended <= until and (row.error is None or row.error.startswith("other")) for row in asked)


def _most(probe: Sequence[Call]) -> int:
    """Calls that a probe may have let through, where those of copies are not told apart."""
    return sum(call.most for call in probe)


def _doubted(probe: Sequence[Call], quiet: float, view: View) -> bool:
    """Whether the machine could be why so many calls are one probe: it was in the way while they were made, or in the
    time around them in which none came."""
    return view.doubted(probe[0].started - quiet, max(call.ended for call in probe) + quiet)


def _firsts(circuit: Circuit) -> list[Call]:
    return [probe[0] for probe in circuit.probes]


def _told(view: View, call: Call) -> str:
    name = call.key[0] if call.key else "call"
    return f"{name} at {moment(view, call.started, call.started)} ({format_duration(call.ended - call.started)})"
