"""What disturbed time can explain of what is judged by order: answers, retries, breaker, recovery, alerts, evidence.

One rule: what failed is judged again by the same judge, on the same history, with the benefit of the doubt for what
disturbed time can explain (:meth:`View.doubted`, :meth:`View.took`). What fails even so is violated. Each expectation
says what that is; what it does not doubt (a write that is there twice, a process that ended) no machine brings about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf

from chaoskit.expectations._calm import at_best, inconclusive
from chaoskit.expectations._lasting import settled
from chaoskit.expectations.recovery import BETWEEN
from chaoskit.history.windows import Window
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

_IN_CALM_TIME = ("steady_state", "during", "after")
"""Kinds whose figures were judged on calm time already."""

_BY_EVENTS = ("recovery", "alerts", "sop")
"""Kinds about chains of events, in which what is late once may make all that follows late by any time: an alert whose
metric was read late pends anew. Nothing bounds that, so any disturbed time explains them."""

_CONTENT = {"severity", "labels", "annotations", "runbook", "priority", "payload", "once_per_incident"}
"""Words in ids of these that say what an alert or a run is, and not when: no machine changes that."""

_SECONDS = {*_BY_EVENTS, "breaker", "backoff", "after_deadline", "within"}
"""Words in the id of a finding that is about seconds: too few samples of it may come of any disturbed time."""


def excused(findings: Sequence[Finding], view: View, judge: Callable[[View], Iterable[Finding]]) -> list[Finding]:
    """The findings of ``judge``; inconclusive are those for which disturbed time could explain that they failed."""
    failed = any(finding.outcome is Outcome.VIOLATED for finding in findings)
    again: dict[str, Finding] = {}
    if failed and view.calm.disturbed:
        again = {finding.id: finding for finding in judge(dataclasses.replace(view, in_doubt=True))}
    return [
        inconclusive(finding, view, _disturbed(finding, view)) if _explained(finding, view, again) else finding
        for finding in findings
    ]


def _explained(finding: Finding, view: View, again: Mapping[str, Finding]) -> bool:
    kind, *words = finding.id.split(".")
    if not view.calm.disturbed or kind in _IN_CALM_TIME or finding.certain:
        return False
    if finding.outcome is Outcome.VIOLATED and kind not in _BY_EVENTS:
        return finding.id in again and again[finding.id].outcome is not Outcome.VIOLATED
    if finding.outcome not in (Outcome.VIOLATED, Outcome.VACUOUS):
        return False
    if finding.outcome is Outcome.VIOLATED and not view.sops and (kind == "sop" or finding.id == "recovery.because_of"):
        return False  # what was switched off did not come late
    if finding.outcome is Outcome.VIOLATED and _CONTENT.intersection(words[1:] if kind == "alerts" else words):
        return False
    window = _looked_at(finding, view)
    seconds = bool(_SECONDS.intersection((kind, *words))) and bool(view.calm.during(window.start, window.end))
    if not seconds and not view.calm.overwhelmed(window):
        return False
    # A steady state that does not come back at all, even when the requests are taken at best, has no such excuse.
    return finding.id != "recovery" or finding.outcome is Outcome.VACUOUS or _recovers_at_best(view)


def lag_explained(view: View) -> str:
    """Who took what of the machine, where that explains a traffic generator that fell behind; empty where not."""
    if not view.calm.disturbed:
        return ""
    start = view.first_fault
    return view.calm.told(Window(-inf, inf), view.calm.windows[0].start if start is None else start)


def _disturbed(finding: Finding, view: View) -> Window:
    """The time whose disturbances are told."""
    window = _looked_at(finding, view)
    return window if view.calm.during(window.start, window.end) else Window(-inf, inf)


def _looked_at(finding: Finding, view: View) -> Window:
    """From when to when: a fault's own window; for recovery from the last fault on; else from the first on."""
    kind, _, name = finding.id.partition(".")
    for fault in view.faults:
        if kind == "fault" and fault.name == name:
            return Window(fault.started, fault.ended)
    if name.endswith("not_before_fault"):
        return Window(-inf, inf)
    if kind == "recovery" and name != BETWEEN and view.last_cure is not None:
        phase = view.phases.get("recovery")
        return Window(view.last_cure, inf if phase is None else phase.end)
    return Window(view.first_fault if view.first_fault is not None else -inf, inf)


def _recovers_at_best(view: View) -> bool:
    since = view.last_cure
    if since is None:
        return True
    best = [at_best(row, view, fallback=True) for row in view.requests()]
    return settled(view, since, seen=best) is not None
