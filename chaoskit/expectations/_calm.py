"""Figures judged on calm time (:mod:`chaoskit.history.calm`), and what disturbed time can explain of the others.

A disturbed machine never makes a violation a pass, and never fails a service for what others took:

- The requests that were to be sent in calm time are judged where they are enough, and at least half of all: fewer may
  all be of one moment, such as the last of a fault. Else all of them are.
- What is violated stays so if all requests violate it even at best: without what each can have lost, and with every one
  that met a time without bound taken as answered well and at once. Not so one that failed in spite of more time to
  itself than the slowest answer took, and than it had to share; nor one that failed sooner than a good answer usually
  comes, before anybody had given up for slowness (from then on a breaker may answer). Else it is inconclusive. What a
  request can have lost is

      min(latency × (1 - 1 / slowdown), 10 × what our threads waited for a processor / requests in that time)

- What holds in calm time alone is held if the whole would be with no more than what slowness itself brings taken off:
  latency, and failures that came later than any good answer did. It is violated if the whole is even at best. Else it
  is inconclusive: the benefit of the doubt makes no pass.

- Too few calm requests, and a bound that a slow machine helps to meet (a lower limit of a latency): inconclusive.

Requests are chosen by when they were to be sent, never by when they ended: that would leave out the slow ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import inf

import msgspec

from chaoskit.expectations._evidence import latency
from chaoskit.history import rows as r
from chaoskit.history.calm import AFTERMATH, CALM_SHARE
from chaoskit.history.windows import Window, without
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import MOST_TIMES, View

Judge = Callable[[Bound, list[r.Request], Sequence[Window]], Finding]
"""One bound on requests that were sent within windows."""


def in_calm_time(
    judge: Judge, metric: str, bound: Bound, requests: list[r.Request], view: View, windows: Sequence[Window]
) -> Finding:
    """The finding of ``judge``, and inconclusive where the machine could have made it what it is."""
    whole = judge(bound, requests, windows)
    touched = any(view.calm.during(row.intended, row.ended) for row in requests)
    if not touched or whole.outcome is Outcome.VACUOUS or metric == "requests":
        return whole  # how many requests are sent is no matter of the machine, or the generator tells
    calm = [row for row in requests if view.calm.calm(row.intended)]
    time: Sequence[Window] = without(windows, view.calm.windows)
    found = judge(bound, calm, time)
    if found.outcome is Outcome.VACUOUS or len(calm) < CALM_SHARE * len(requests):
        calm, time, found = requests, windows, whole
        if found.held and judge(_hurt(metric, bound), requests, windows).expected != found.expected:
            return inconclusive(found, view, _span(requests))
    if Outcome.VIOLATED not in (found.outcome, whole.outcome):
        return found
    hurt = _hurt(metric, bound)
    if found.outcome is Outcome.VIOLATED and judge(hurt, calm, time).held and whole.outcome is Outcome.VIOLATED:
        return found  # it is out of the bound on the side to which no machine pushes it
    slowest = max((latency(row) for row in requests if row.ok), default=0.0)
    fallback = not bound.holds(0.0)
    best = {id(row): at_best(row, view, fallback=fallback, slowest=slowest) for row in requests}
    # Calm time alone may be a part of the window in which the figure is another: the whole must agree.
    lost, all_lost = (
        judge(hurt, [best[id(row)] for row in rows], within).outcome is Outcome.VIOLATED
        for rows, within in ((calm, time), (requests, windows))
    )
    if not found.held:
        return found if lost and all_lost else inconclusive(found, view, _span(requests))
    if all_lost:
        return whole
    wanted = {id(row) for row in requests if row.ok and (metric != "fallback_rate" or row.fallback == fallback)}
    latest = max((latency(row) for row in requests if id(row) in wanted), default=0.0)
    slow = [best[id(row)] if id(row) in wanted or latency(row) > latest else row for row in requests]
    explained = judge(hurt, slow, windows).held and not judge(hurt, requests, windows).held
    return found if explained else inconclusive(whole, view, _span(requests))


def inconclusive(finding: Finding, view: View, window: Window) -> Finding:
    """The finding, with who took what of the machine within ``window``."""
    start = view.first_fault if view.first_fault is not None else window.start
    seen = f"{finding.seen}, while {view.calm.told(window, start)}"
    return dataclasses.replace(finding, outcome=Outcome.INCONCLUSIVE, seen=seen)


def _hurt(metric: str, bound: Bound) -> Bound:
    """The bound as far as a slow machine can break it; the other side it can only help to meet."""
    if metric in ("success_rate", "throughput"):
        helped = bound.high < (1.0 if metric == "success_rate" else inf)
        return dataclasses.replace(bound, text=f"{bound} (from below)", high=inf) if helped else bound
    if metric == "fallback_rate":
        return bound
    helped = bound.low > 0.0
    return dataclasses.replace(bound, text=f"{bound} (from above)", low=-inf) if helped else bound


def at_best(row: r.Request, view: View, *, fallback: bool, slowest: float = inf) -> r.Request:
    """The request as a machine without anybody else would have seen it, at best.

    Where nothing bounds what it lost, it is taken as answered well and at once. Not so one that failed although it had
    longer than the ``slowest`` answer took, and longer than others kept it waiting: it hung by itself. What was
    answered as soon as ever, before anybody had given up, is what it is: nothing slow was in its way.
    """
    slowdown = view.calm.slowdown(row.intended, row.ended)
    if slowdown == inf:
        had = view.calm.progress(row.intended, row.ended)
        if not row.ok and had > max(slowest, latency(row) / 2):
            return msgspec.structs.replace(row, ended=row.intended + had)
        at_once = msgspec.structs.replace(row, ended=row.intended)
        if latency(row) <= view.usual.get(row.op, 0.0) and row.ended < view.gave_up:
            return at_once
        return msgspec.structs.replace(at_once, ok=True, error=None, fallback=fallback)
    met = view.calm.during(row.intended, row.ended)
    if not met:
        return row
    waited = sum((each.row.waited or 0.0) * each.row.seconds for each in met)
    requests = view.sent(met[0].row.at - met[0].row.seconds, met[-1].row.at)
    lost = min((row.ended - row.intended) * (1 - 1 / slowdown), MOST_TIMES * waited / max(1, requests))
    return msgspec.structs.replace(row, ended=row.ended - lost)


def _span(requests: Sequence[r.Request]) -> Window:
    start = min(row.intended for row in requests)
    return Window(start, max(max(row.ended for row in requests), start + AFTERMATH))
