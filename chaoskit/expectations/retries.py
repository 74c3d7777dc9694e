"""How a service retries a dependency, judged from the calls that its proxy saw.

The calls are tied to the client's request by what the service passes on: the correlation id (the operation's
``id_header``) or the trace id of the ``traceparent``. Those of one request with the same method and path are the
attempts of one call. One that was refused a connection sent no request and is not seen: let the dependency
fail in a way that takes the request (a reset, a late or a 5xx answer), not by closing its port.

What cannot be tied to a request may be an attempt: calls without a known id beyond those of the steady phase, and calls
of a request beyond the different ones that such a request makes in the steady phase. A bound that they could break is
not held but vacuous, and says why.

The pause before a retry is the time from the *end* of one attempt to the *start* of the next.

* ``factor`` is the median, over calls with at least three attempts, of the second pause over the first. Jitter that
  multiplies each pause by a draw of its own does not move it, since either of two draws is equally likely to be the
  larger. Jitter that is added, and decorrelated jitter, do (docs/verdicts.md has the figures).
* ``jitter`` is the spread of the first pauses: (p90 - p10) / median. Pauses without jitter show a few percent,
  jitter uniform in ±25 % (a factor of 0.75 to 1.25) shows 40 %, full jitter (0 to 1) shows 160 %.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from pydantic import model_validator

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._attempts import (
    COPIES,
    Attempts,
    Callers,
    SameCall,
    group,
    matching,
    strays,
    unseen,
    with_hidden,
)
from chaoskit.expectations._calm import inconclusive
from chaoskit.expectations._edges import Edges
from chaoskit.expectations._evidence import SHOWN, excess, many, vacuous, with_unit
from chaoskit.expectations._fields import Count, Regex, Statuses, at_least_one, listed
from chaoskit.expectations._lengthened import holds_anyway, out_of_bounds
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, merge
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Expectation, Finding, NeverKnown, Outcome, check, check_between, too_few
from chaoskit.language.planned import Given
from chaoskit.language.types import (
    CalledService,
    Duration,
    DurationBound,
    Model,
    NumberBound,
    OperationName,
    RatioBound,
)
from chaoskit.language.view import View

NEEDED = 10
"""Calls a figure must come from."""

_NO_ANSWER = (None, 408, 504)
"""Ends of an attempt that a slow machine can bring about."""

GRACE = 0.02
"""Seconds after the deadline that do not count: a call that left in time is seen a little later."""


class Backoff(Model):
    """Bounds on the pauses: their growth, their spread, and the median of the first."""

    factor: NumberBound | None = None
    jitter: RatioBound | None = None
    first: DurationBound | None = None

    _asked = model_validator(mode="after")(at_least_one("factor", "jitter", "first"))


class When(Model):
    """Which calls are looked at, by how their first attempt ended: with one of these statuses, or
    (``error: true``) with no answer at all. With both given, either will do.
    """

    status: Statuses | None = None
    error: bool | None = None

    def matches(self, first: r.Exchange) -> bool:
        """Whether the first attempt ended so."""
        failed = self.error is not None and self.error == (first.status is None)
        return failed or (self.status is not None and first.status in listed(self.status))


class Retries(Expectation):
    """Bounds on the attempts at the proxy of service ``on``.

    ``of`` limits them to the requests of one operation, ``path`` (a regular expression the path begins with)
    and ``method`` to one kind of call, ``where`` to requests that were to be sent while a fault was active, in
    the steady phase, or at any time. ``same_call`` says what the attempts of one call have in common. ``attempts``
    holds for every call; ``amplification`` is attempts per call; ``after_deadline`` counts attempts that began later
    than ``deadline`` (else the operation's timeout) after the client had sent its request.
    """

    on: CalledService
    of: OperationName | None = None
    path: Regex | None = None
    method: str | None = None
    where: Literal["faults", "steady", "all"] = "faults"
    when: When | None = None
    same_call: SameCall = "path"
    attempts: Count | None = None
    backoff: Backoff | None = None
    amplification: NumberBound | None = None
    after_deadline: Count | None = None
    deadline: Duration | None = None

    _asked = model_validator(mode="after")(at_least_one("attempts", "backoff", "amplification", "after_deadline"))

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """Faults in which no attempt can be seen."""
        return iter(()) if self.where == "steady" else unseen(given.faults, self.on, "retries")

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each bound, ``retries.SERVICE.BOUND``."""
        seen, lost = self.seen(view), self._lost(view)
        for name, bound in self._bounds():
            if seen:
                calls = [call for call in seen if not _explained(name, bound, call, view)]
                finding = self._judge(name, bound, calls, lost, view)
                if name.startswith("backoff") and finding.outcome is Outcome.VACUOUS and view.in_doubt:
                    known = [call for call in seen if not call.hidden]
                    if not lost and out_of_bounds(_path(name)[-1], bound, known, NEEDED, view):
                        finding = self._judge(name, bound, known, lost, view)
                yield finding
            else:
                key, certain = f"retries.{self.on}.{name}", view.had_time(self._windows(view))
                yield vacuous(key, str(bound), self._nothing(view), _path(name), certain=certain)

    def seen(self, view: View) -> list[Attempts]:
        """The calls that are judged, with their attempts. The figure of retries draws them."""
        callers, calls = Callers(view.requests()), self._calls(view)
        asked, usual = (
            group(callers, view.requests(self.of, windows), calls, self.same_call)
            for windows in (self._windows(view), _phase(view, "steady"))
        )
        seen = asked if self.where == "steady" else with_hidden(asked, usual)
        return seen if self.when is None else [call for call in seen if self.when.matches(call.exchanges[0])]

    def _windows(self, view: View) -> list[Window] | None:
        return {"faults": view.fault_windows, "steady": _phase(view, "steady"), "all": None}[self.where]

    def _lost(self, view: View) -> int:
        """Calls that may be attempts of any that is judged: they bear the id of no request, and are more than in the
        steady phase."""
        windows = self._windows(view)
        if windows is None:
            windows = list(view.phases.values())
        ends = [max((row.ended for row in view.requests(windows=[window])), default=0.0) for window in windows]
        spans = merge(Window(each.start, max(each.end, end)) for each, end in zip(windows, ends, strict=True))
        steady = view.phases.get("steady") if self.where != "steady" else None
        return strays(self._calls(view), Callers(view.requests()), spans, steady)

    def _calls(self, view: View) -> list[r.Exchange]:
        return matching(view.exchanges(self.on), self.path, self.method)

    def _bounds(self) -> list[tuple[str, Bound]]:
        backoff = self.backoff or Backoff.model_construct()
        bounds = [
            ("attempts", self.attempts),
            ("backoff.factor", backoff.factor),
            ("backoff.jitter", backoff.jitter),
            ("backoff.first", backoff.first),
            ("amplification", self.amplification),
            ("after_deadline", self.after_deadline),
        ]
        return [(name, bound) for name, bound in bounds if bound is not None]

    def _nothing(self, view: View) -> str:
        calls = self._calls(view)
        if not calls:
            return f"no matching call was seen at {self.on}"
        count, callers = counted(len(calls), "calls"), Callers(view.requests())
        if not any(callers.of(call) for call in calls):
            headers = [*sorted({facts.id_header for facts in view.operations.values()}), "traceparent"]
            return f"{count} to {self.on}, none with the id of a request; pass on the header {' or '.join(headers)}"
        return f"{count} to {self.on}, none of a request that is asked for"

    def _judge(self, name: str, bound: Bound, seen: list[Attempts], lost: int, view: View) -> Finding:
        key, path = f"retries.{self.on}.{name}", _path(name)
        match name:
            case "attempts":
                seen = self._on_this_side(seen, bound, view)
                if not seen:
                    return too_few(key, str(bound), 0, NEEDED, path=path)
                over = [call for call in seen if not bound.reaches(call.least, call.most + lost)]
                worst = (
                    max(over, key=lambda call: excess(bound, call.least))
                    if over
                    else max(seen, key=lambda call: max(excess(bound, count) for count in (call.fewest, call.most)))
                )
                return _between(
                    key, bound, worst.least if over else worst.fewest, worst.most + lost, len(seen),
                    open_=_open(seen, lost), need=1 if view.in_doubt else NEEDED, path=path,
                    show=lambda text: many(text, "attempt"),
                    worst=f"{_told(worst)}; {len(over)} of {len(seen)} calls are out of bounds",
                    rows=map(_told, over[:SHOWN]),
                )  # fmt: skip
            case "amplification":
                if not seen:
                    return too_few(key, str(bound), 0, NEEDED, path=path)
                total = sum(len(call.exchanges) - _unanswered(call, view) for call in seen)
                # Of copies, each that made an attempt made a call: one of them did, and all may have.
                asked = sum(min(len(call.requests), len(call.exchanges)) for call in seen)
                fewer = sum(call.share for call in seen)
                most = sorted(seen, key=lambda call: -call.most)
                return _between(
                    key, bound, total / asked, (total + lost) / fewer, asked,
                    open_=_open(seen, lost), need=NEEDED, path=path,
                    show=lambda text: f"{many(text, 'attempt')} per call ({total} for {asked})",
                    worst=_told(most[0]), rows=map(_told, most[:SHOWN]),
                )  # fmt: skip
            case "after_deadline":
                return self._after_deadline(key, bound, path, seen, lost, view)
        known = [call for call in seen if not call.hidden]
        finding = _pauses(key, name, bound, path, known)
        if lost and finding.held:  # an attempt that is not seen makes two pauses one
            return vacuous(key, str(bound), f"{finding.seen}: {_open(seen, lost)}", path, finding.samples)
        if finding.held and not holds_anyway(path[-1], bound, known, NEEDED, view):
            starts, ends = zip(*map(_span, known), strict=True)
            return inconclusive(finding, view, Window(min(starts), max(ends)))
        return finding

    def _on_this_side(self, seen: list[Attempts], bound: Bound, view: View) -> list[Attempts]:
        """Without the calls of requests that a fault's beginning or end met under way: they may have had fewer attempts
        to make, or in the steady phase more. Too many during the fault are too many on either side.
        """
        clear = {id(row) for row in Edges(view, self.where).requests(self.of).clear}
        return [
            call
            for call in seen
            if all(id(row) in clear for row in call.requests) or (self.where == "faults" and call.least > bound.high)
        ]

    def _after_deadline(
        self, id: str, bound: Bound, path: tuple[str, ...], seen: list[Attempts], lost: int, view: View
    ) -> Finding:
        late: list[tuple[float, str]] = []
        maybe = 0
        for call in seen:
            # Which of several copies an attempt was made for is not known: the last that was sent, or the first.
            latest, first = max(call.requests, key=_sent), min(call.requests, key=_sent)
            facts = view.operations.get(latest.op)
            limit = self.deadline if self.deadline is not None else (facts.timeout if facts else None)
            if limit is None:
                continue
            for exchange in call.exchanges:
                after = view.least(latest.sent, exchange.started) - limit
                maybe += view.least(first.sent, exchange.started) - limit > GRACE
                if after > GRACE:
                    late.append((after, f"{_named(call)} ({format_duration(after)} late)"))
        late.sort(reverse=True)
        return _between(
            id, bound, len(late), maybe + lost, len(seen),
            open_=_open(seen, lost), need=1 if view.in_doubt else NEEDED, path=path,
            show=lambda text: f"{many(text, 'attempt')} after the deadline",
            worst=late[0][1] if late else "", rows=[text for _, text in late[:SHOWN]],
        )  # fmt: skip


def _between(
    id: str, bound: Bound, least: float, most: float, samples: int, *, open_: str, need: int, path: tuple[str, ...],
    show: Callable[[str], str], worst: str, rows: Iterable[str],
) -> Finding:  # fmt: skip
    """:func:`check_between`, of ``need`` samples at least."""
    if samples < need:
        return too_few(id, str(bound), samples, need, path=path, seen=bound.show(least))
    return check_between(id, bound, least, most, samples, show=show, open_=open_, path=path, worst=worst, rows=rows)


def _open(seen: Iterable[Attempts], lost: int) -> str:
    """Why what is seen of attempts may not be all."""
    if lost:
        return (
            f"{counted(lost, 'calls')} more than in the steady phase {'bears' if lost == 1 else 'bear'} the id of no "
            "request and may be attempts; pass the id on with each, or look at other calls with path or method"
        )
    if any(call.hidden for call in seen):
        return (
            "requests made more different calls than in the steady phase, which may be attempts of one; say so with "
            "same_call: id, or look at other calls with path"
        )
    return COPIES


def _sent(request: r.Request) -> float:
    return request.sent


def _explained(name: str, bound: Bound, call: Attempts, view: View) -> bool:
    """Whether the machine could have made a call what it is: a pause longer, an attempt late, one too many, or one too
    few that the time was too short for."""
    if name == "after_deadline":  # how late each is is judged at best
        return False
    if name.startswith("backoff"):
        return view.doubted(*_span(call), slowed=True)
    if not view.doubted(*_span(call)):
        return False
    if name == "amplification":  # the others are counted at best
        return call.least < bound.low
    return call.least < bound.low or bound.reaches(call.least - _unanswered(call, view), call.least)


def _unanswered(call: Attempts, view: View) -> int:
    """How many attempts the machine may have led to: the one before had no answer while others were in the way."""
    return sum(row.status in _NO_ANSWER and view.doubted(row.started, row.ended) for row in call.exchanges[:-1])


def _span(call: Attempts) -> tuple[float, float]:
    rows = [(row.intended, row.ended) for row in call.requests] + [(row.started, row.ended) for row in call.exchanges]
    return min(start for start, _ in rows), max(end for _, end in rows)


def _phase(view: View, name: str) -> list[Window]:
    return [view.phases[name]] if name in view.phases else []


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _named(call: Attempts) -> str:
    first = call.exchanges[0]
    return f"{first.method} {first.path} of {call.id}"


def _told(call: Attempts) -> str:
    ends = ", ".join(str(row.status) if row.status is not None else row.end for row in call.exchanges[:SHOWN])
    return f"{_named(call)} ({many(str(len(call.exchanges)), 'attempt')}: {ends})"


def _pauses(id: str, name: str, bound: Bound, path: tuple[str, ...], seen: list[Attempts]) -> Finding:
    """The finding on one figure of the pauses."""
    retried = [call for call in seen if call.pauses]
    if not retried:
        why = f"none of {counted(len(seen), 'calls')} was tried more than once"
        return vacuous(id, str(bound), why, path, len(seen))
    if name == "backoff.factor":
        grown = [(growth, call) for call in retried if (growth := call.growth) is not None]
        value = statistics.median(growth for growth, _ in grown) if grown else 0.0
        return _tell(check(id, bound, value, len(grown), need=NEEDED, path=path), [call for _, call in grown], "×")
    first = [call.pauses[0] for call in retried]
    middle = statistics.median(first)
    value = middle
    if name == "backoff.jitter":
        deciles = statistics.quantiles(first, n=10, method="inclusive") if len(first) > 1 else [0.0] * 9
        value = (deciles[8] - deciles[0]) / middle if middle else 0.0
    return _tell(check(id, bound, value, len(first), need=NEEDED, path=path), retried, "")


def _tell(finding: Finding, calls: list[Attempts], unit: str) -> Finding:
    """The finding with the pauses behind it."""
    first = [call.pauses[0] for call in calls]
    told = [f"{_named(call)} ({', '.join(map(format_duration, call.pauses))})" for call in calls]
    worst = f"first pauses {format_duration(min(first))} to {format_duration(max(first))}" if first else ""
    finding = dataclasses.replace(finding, worst=worst, rows=tuple(told[:SHOWN]))
    return with_unit(finding, lambda text: f"{text}{unit}")
