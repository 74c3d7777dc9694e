"""Whether a service recovered because of an SOP: neither before it, nor only because chaoskit lifted the fault."""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.base.units import format_duration
from chaoskit.expectations._evidence import moment
from chaoskit.expectations._lasting import spells
from chaoskit.expectations._steady import recovered_at
from chaoskit.history import rows as r
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

_ULP = 1e-6
"""Seconds by which a window is made shorter, so that rounding does not make it longer than the time there is."""


@dataclass(frozen=True)
class Cure:
    """An SOP began at ``started``, and steady state held again from ``again`` on, before a fault was lifted (``lift``).

    All are monotonic seconds.
    """

    sop: str
    started: float
    again: float
    lift: float


def cured(view: View) -> Cure | str:
    """The cure of the service by an SOP while a fault was active; else why it was none."""
    runs = sorted(
        (row for row in view.history.rows(r.SopRun) if row.started is not None), key=lambda row: row.started or 0
    )
    if not runs:
        return "no SOP ran"
    first = runs[0]
    start = first.started or 0.0
    name = f"{first.sop} ({moment(view, start, start)})"
    lift = min((row.planned_end for row in view.faults if row.started <= start < row.planned_end), default=None)
    if lift is None:
        return f"no fault was active when {name} started"
    if _held(view, start):
        return f"steady state held already when {name} started"
    if all(run.outcome != "done" for run in runs):
        return f"{name} was not done: {first.outcome}, {first.detail}"
    spell = next((spell for spell in spells(view, start, until=lift) if spell.lasts), None)
    if spell is not None:
        return Cure(name, start, spell.start, lift)
    later = recovered_at(view, view.steady_state, start, view.recovery_window)
    if later is not None and later + view.recovery_window <= lift:
        return f"not for long: steady state held {format_duration(later - start)} after {name}, and was lost"
    if later is None:
        return f"not at all after {name}"
    told = f"the fault was lifted {format_duration(lift - start)} after it"
    return f"only {format_duration(later - start)} after {name} had started; {told}"


def because_of_sop(view: View, limit: float) -> Finding:
    """Steady state must have been lost when the SOP began, and hold again at most ``limit`` seconds after that,
    while every fault that was active then still is.
    """
    id_, path = "recovery.because_of", ("because_of",)
    expected = f"steady state again within {format_duration(limit)} of the SOP's start, before the fault is lifted"
    if view.first_fault is None:
        return Finding(id_, Outcome.VACUOUS, expected, "there was no fault to recover from", 0, path, certain=True)
    runs = sum(row.started is not None for row in view.history.rows(r.SopRun))
    cure = cured(view)
    if isinstance(cure, str):
        return Finding(id_, Outcome.VIOLATED, expected, cure, runs, path, because="" if runs else "sop")
    samples = len([row for row in view.requests() if cure.started <= row.intended < cure.lift])
    seconds = cure.again - cure.started
    outcome = Outcome.HELD if seconds <= limit else Outcome.VIOLATED
    told = f"{format_duration(seconds)} after {cure.sop} had started, {format_duration(cure.lift - cure.again)}"
    return Finding(id_, outcome, expected, f"{told} before the fault was lifted", samples, path)


def _held(view: View, start: float) -> bool:
    """Whether steady state held over the last moments before ``start``, within the fault."""
    assert view.first_fault is not None
    since = max(start - view.recovery_window, view.first_fault)
    window = start - since - _ULP
    return window > 0 and recovered_at(view, view.steady_state, since, window, until=start) is not None
