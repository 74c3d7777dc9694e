"""What disturbed time can explain of what is judged by order: retries, breaker, recovery, alerts, evidence."""

from __future__ import annotations

from math import inf

from chaoskit.expectations._calm import at_best, inconclusive
from chaoskit.expectations._steady import recovered_at
from chaoskit.expectations.base import Finding, Outcome
from chaoskit.history.view import View
from chaoskit.history.windows import Window

_IN_CALM_TIME = ("steady_state", "during", "after")
"""Kinds whose figures were judged on calm time already."""

_WHATEVER_THE_TIME = ("services",)
"""Kinds that no slow machine brings about: a process does not end of it."""

_NEVER_OF_SLOWNESS = {"duplicated", "unexpected", "no_internals", "no_secret", "secrets"}
"""Last words of ids of findings on what is wrong however late it comes: a write that is there twice, a secret told."""

_SECONDS = {"recovery", "breaker", "alerts", "sop", "backoff", "after_deadline", "within"}
"""Words in the id of a finding that is about seconds: a slowdown moves it, also where it is bounded."""


def excused(finding: Finding, view: View) -> Finding:
    """The finding, inconclusive where disturbed time could explain that it failed.

    It could where nothing bounds what was lost while the finding looked; where it is about seconds, wherever anything
    was. A steady state that does not come back at all, even when the requests are taken at best, has no such excuse.
    """
    kind, *words = finding.id.split(".")
    if finding.outcome not in (Outcome.VIOLATED, Outcome.VACUOUS) or kind in (*_IN_CALM_TIME, *_WHATEVER_THE_TIME):
        return finding
    if finding.outcome is Outcome.VIOLATED and words and words[-1] in _NEVER_OF_SLOWNESS:
        return finding
    window = _looked_at(finding, view)
    seconds = bool(_SECONDS.intersection((kind, *words))) and bool(view.calm.during(window.start, window.end))
    if not seconds and not view.calm.overwhelmed(window):
        return finding
    if finding.id == "recovery" and finding.outcome is Outcome.VIOLATED and not _recovers_at_best(view):
        return finding
    return inconclusive(finding, view, window)


def lag_explained(view: View) -> str:
    """Who took what of the machine, where that explains a traffic generator that fell behind; empty where not."""
    if not view.calm.disturbed:
        return ""
    start = view.first_fault
    return view.calm.told(Window(-inf, inf), view.calm.windows[0].start if start is None else start)


def _looked_at(finding: Finding, view: View) -> Window:
    """From when to when: a fault's own window; for recovery from the last fault on; else from the first on."""
    kind, _, name = finding.id.partition(".")
    for fault in view.faults:
        if kind == "fault" and fault.name == name:
            return Window(fault.started, fault.ended)
    if kind == "recovery" and view.last_fault_end is not None:
        phase = view.phases.get("recovery")
        return Window(view.last_fault_end, inf if phase is None else phase.end)
    return Window(view.first_fault if view.first_fault is not None else -inf, inf)


def _recovers_at_best(view: View) -> bool:
    since = view.last_fault_end
    if since is None:
        return True
    best = [at_best(row, view, fallback=True) for row in view.requests()]
    return recovered_at(best, view.steady_state, since, view.recovery_window) is not None
