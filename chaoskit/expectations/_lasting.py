"""Steady state that came back: whether it stayed, as far as was seen. A service that is well for a second, and ill for
four, for ever, has not recovered.

Steady state holds again at the earliest moment t at which a good spell begins (every bound holds over [t, t + window),
:mod:`chaoskit.expectations._steady`) of which the *rest* is no violation: all requests from t to the end of what was
seen, as a whole, judged as the steady phase is. So one failure of many is what it is there, and what others took of the
machine is left out or makes it inconclusive. What was lost once must hold for :data:`LASTS` windows.

The rest ends where the next fault begins. An SOP that begins later is a cure of its own, which may take the service
down: the time of its run, and ``limit`` seconds after it, are no part of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from chaoskit.expectations._operations import judge_operations
from chaoskit.expectations._steady import BASE, complete_until, good_spells
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, without
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

LASTS = 2.5
"""Windows for which steady state is watched from the moment on at which it holds again."""


@dataclass(frozen=True)
class Again:
    """A good spell from ``start`` on, ``watched`` for so many seconds; the findings on its ``rest`` that did not hold.

    ``lost`` is the first spell before it, which did not last.
    """

    start: float
    watched: float
    rest: tuple[Finding, ...] = ()
    lost: Again | None = None

    @property
    def lasts(self) -> bool:
        """Whether no bound was violated by the rest."""
        return not any(finding.outcome is Outcome.VIOLATED for finding in self.rest)

    @property
    def sure(self) -> bool:
        """Whether not even the machine could have made it look so."""
        return not any(finding.outcome in (Outcome.VIOLATED, Outcome.INCONCLUSIVE) for finding in self.rest)

    def settled(self, view: View) -> bool:
        """Whether it was watched for long enough: one that follows another that was lost proves nothing by itself."""
        return self.lost is None or self.watched >= LASTS * view.recovery_window


def spells(
    view: View,
    since: float,
    limit: float = inf,
    *,
    until: float | None = None,
    seen: Iterable[r.Request] | None = None,
) -> Iterator[Again]:
    """The good spells from ``since`` on (``until`` a moment), in order, each with its rest. They are looked for among
    the requests ``seen``, if others than the history has."""
    end = complete_until(view, view.steady_state, since)
    end = end if until is None else min(end, until)
    bounds = {op: asked.model_copy(update={"requests": None}) for op, asked in view.steady_state.items()}
    runs = [row for row in view.history.rows(r.SopRun) if row.started is not None]
    lost: Again | None = None
    for start in good_spells(view if seen is None else seen, view.steady_state, since, view.recovery_window, until):
        cures = [_cure(row, start, limit) for row in runs]
        last = min([end, *(fault.started for fault in view.faults if fault.started > start)])
        rest = judge_operations(
            "", bounds, view, without([Window(start, last)], cures), lambda row: row.stream.startswith(BASE)
        )
        again = Again(start, last - start, tuple(finding for finding in rest if not finding.held), lost)
        yield again
        lost = lost or (None if again.lasts else again)


def settled(view: View, since: float, limit: float = inf, *, seen: Iterable[r.Request] | None = None) -> Again | None:
    """The first spell that lasts, and was watched for long enough."""
    return next((again for again in spells(view, since, limit, seen=seen) if again.lasts and again.settled(view)), None)


def _cure(run: r.SopRun, start: float, limit: float) -> Window:
    """What of the time after ``start`` says nothing of the fault, for an SOP ran."""
    began, ended = run.started or 0.0, inf if run.ended is None else run.ended
    return Window(began, ended + limit if began > start else ended)
