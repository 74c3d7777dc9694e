"""Whether a service recovered because of an SOP: neither before it, nor only because chaoskit lifted the fault."""

from __future__ import annotations

from chaoskit.expectations._evidence import moment
from chaoskit.expectations._steady import recovered_at
from chaoskit.expectations.base import Finding, Outcome
from chaoskit.history import rows as r
from chaoskit.history.view import View
from chaoskit.units import format_duration

_ULP = 1e-6
"""Seconds by which a window is made shorter, so that rounding does not make it longer than the time there is."""


def because_of_sop(view: View, limit: float) -> Finding:
    """Steady state must have been lost when the SOP began, and hold again at most ``limit`` seconds after that,
    while every fault that was active then still is.
    """
    id_, path = "recovery.because_of", ("because_of",)
    expected = f"steady state again within {format_duration(limit)} of the SOP's start, before the fault is lifted"
    runs = sorted(
        (row for row in view.history.of(r.SopRun) if row.started is not None), key=lambda row: row.started or 0
    )

    def violated(seen: str, samples: int = len(runs)) -> Finding:
        return Finding(id_, Outcome.VIOLATED, expected, seen, samples, path)

    if view.first_fault is None:
        return Finding(id_, Outcome.VACUOUS, expected, "there was no fault to recover from", 0, path)
    if not runs:
        return violated("no SOP ran")
    first = runs[0]
    start = first.started or 0.0
    name = f"{first.sop} ({moment(view, start, start)})"
    lift = min((row.planned_end for row in view.faults if row.started <= start < row.planned_end), default=None)
    if lift is None:
        return violated(f"no fault was active when {name} started")
    if _held(view, start):
        return violated(f"steady state held already when {name} started")
    if all(run.outcome != "done" for run in runs):
        return violated(f"{name} was not done: {first.outcome}, {first.detail}")
    again = recovered_at(view, view.steady_state, start, view.recovery_window, until=lift)
    if again is None:
        later = recovered_at(view, view.steady_state, start, view.recovery_window)
        if later is None:
            return violated(f"not at all after {name}")
        told = f"the fault was lifted {format_duration(lift - start)} after it"
        return violated(f"only {format_duration(later - start)} after {name} had started; {told}")
    samples = len([row for row in view.requests() if start <= row.intended < lift])
    held = again - start <= limit
    outcome = Outcome.HELD if held else Outcome.VIOLATED
    told = (
        f"{format_duration(again - start)} after {name} had started, {format_duration(lift - again)} before the fault"
    )
    return Finding(id_, outcome, expected, f"{told} was lifted", samples, path)


def _held(view: View, start: float) -> bool:
    """Whether steady state held over the last moments before ``start``, within the fault."""
    assert view.first_fault is not None
    since = max(start - view.recovery_window, view.first_fault)
    window = start - since - _ULP
    return window > 0 and recovered_at(view, view.steady_state, since, window, until=start) is not None
