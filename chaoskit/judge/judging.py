"""From a scenario and its history to a verdict: a pure function, the same today and next year.

The order of precedence: **broken** (the generator or the engine fell behind, an observer lost rows, data could not be
read) before **vacuous** because the steady state was not met, before **violated**, before **vacuous** for a fault
without evidence or too few samples (of the steady state as of anything else), before **inconclusive**. Only what is
none of these has **held**.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from chaoskit.base.errors import BrokenError, ChaosError, described
from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._cured import Cure, cured
from chaoskit.expectations._lasting import settled
from chaoskit.expectations._operations import judge_operations
from chaoskit.expectations._relative import steady_windows
from chaoskit.expectations._secrets import MaskedError
from chaoskit.expectations.recovery import Recovery
from chaoskit.expectations.services import Services, unasked_ends
from chaoskit.history import rows as r
from chaoskit.history.ends import DiedOf
from chaoskit.history.store import History
from chaoskit.history.windows import Window
from chaoskit.judge.consequences import following, linked
from chaoskit.judge.disturbed import excused, lag_explained
from chaoskit.judge.operation_figures import Measured, during
from chaoskit.judge.unrehearsed import unrehearsed
from chaoskit.judge.verdict import SERVICES, STEADY_STATE, Judged, Verdict
from chaoskit.language.expectation import Expectation, Finding, Outcome
from chaoskit.language.fault import Fault
from chaoskit.language.scenario import Scenario
from chaoskit.language.view import OperationFacts, View

# A generator that is later than this at its 99th percentile has measured itself, not the service.
LAG_LIMIT = 0.1
LATE_LIMIT, LATE_SHARE = 0.25, 0.2
"""A fault that began later than planned by more than both, seconds and share of its length, was another fault."""
IN_PLACE_SHARE = 0.5
"""So was one that was not in place before this share of its length, and :data:`LATE_LIMIT`, had gone by. Injecting
takes time by nature (hundreds of connections, a container): with some a fifth of a window, in which they act already.
"""
LAG = ("the traffic generator", r.ENGINE)
"""What the reason begins with when we did not keep the schedule."""
RECOVERY_WINDOW = 1.0
ANY_STATUS = range(-64, 256)
"""A signal that ends a process, negative, or what it exits with."""


def view_of(scenario: Scenario, history: History) -> View:
    """The history with what the scenario says of its traffic."""
    operations = {
        name: OperationFacts(operation.rate, operation.timeout, operation.id_header)
        for name, operation in scenario.model.traffic.items()
    }
    faults = [(planned.name, planned.fault) for planned in scenario.faults]
    return View(history, operations, scenario.model.steady_state, RECOVERY_WINDOW, died_of(faults))


def died_of(faults: Sequence[tuple[str, Fault]]) -> DiedOf:
    """Which faults, by name, end their target."""

    def of_it(row: r.Fault, end: r.Event) -> bool:
        # Nobody knows the status of a process that another one than we had started.
        codes = ANY_STATUS if end.code is None else (end.code,)
        return any(
            name == row.name and fault.target == end.service and any(map(fault.died_of_it, codes))
            for name, fault in faults
        )

    return of_it


def judge(scenario: Scenario, history: History, broken: str | None = None, *, sops: bool = True) -> Verdict:
    """Judge a finished history. ``broken`` is what went wrong while it was made, if anything. Without ``sops`` alerts
    could start none."""
    view = dataclasses.replace(view_of(scenario, history), sops=sops)
    planned = [fault.name for fault in scenario.faults]
    return _verdict(
        view,
        lambda: _ends(scenario, view),
        lambda: _findings(scenario, view),
        lambda: broken or _broken(view, planned),
    )


def judge_python(view: View, expected: Sequence[Finding] = (), may_end: Sequence[str] = ()) -> Verdict:
    """Judge a scenario that is a Python test: its steady state, the evidence of its faults, and what it expects.

    ``may_end`` are services that are allowed to end by themselves.
    """
    told = {finding.id for finding in expected}
    ends = [finding for finding in unasked_ends(view, may_end) if finding.id not in told]
    steady = judge_operations("steady_state", view.steady_state, view, steady_windows(view))
    findings = [*steady, *expected, *ends, *_evidence(view)]
    return _verdict(view, lambda: _unplaced(ends), lambda: _unplaced(findings), lambda: _broken(view))


def judge_expectation(kind: str, expectation: Expectation, view: View, *, ill: bool = False) -> list[Finding]:
    """The findings of an expectation, at least one. ``ill``: the steady state was not met before the faults."""

    def judge(view: View) -> Iterator[Finding]:
        try:
            yield from expectation.judge(view)
        except MaskedError as error:
            yield Finding(kind, Outcome.VACUOUS, "what was seen", str(error), 0, certain=True)
        except ChaosError:
            raise
        except Exception as error:  # a plug-in's own mistake, most likely: say whose
            raise BrokenError(f"expectation {kind}: {described(error)}") from error

    findings = list(judge(view))
    if not ill:
        findings = unrehearsed(judge, view, findings)
    # One that found nothing to judge must not pass for one that was met.
    nothing = Finding(kind, Outcome.VACUOUS, "a finding", "nothing was judged", 0)
    return excused(findings, view, judge) or [nothing]


def _unplaced(findings: Iterable[Finding]) -> Iterator[Judged]:
    return (Judged(finding, 0) for finding in findings)


def _verdict(
    view: View,
    ends: Callable[[], Iterable[Judged]],
    judged: Callable[[], Iterable[Judged]],
    went_wrong: Callable[[], str | None],
) -> Verdict:
    """The verdict on what was ``judged``; on the ``ends`` of services alone where something ``went_wrong``."""
    broken: str | None = None
    disturbed: str | None = None
    samples = len(view.history.rows(r.Request))
    findings: list[Judged] = []
    recovery: float | None = None
    by_sop: float | None = None
    operations: dict[str, Measured] = {}
    concluded = Outcome.BROKEN, ""
    try:
        broken = went_wrong()
        if broken is None and (lag := _lag(view)) is not None:
            disturbed = lag_explained(view)
            broken = f"{lag}, while {disturbed}" if disturbed else f"{lag} (is the machine overloaded?)"
        findings = list(ends())
        if broken is None:
            findings = linked(following(list(judged())))
        recovery, by_sop = _recovery(view), _sop_recovery(view)
        operations = during(view)
        concluded = _conclude(findings, view)
    except Exception as error:
        # A judge that crashed has said nothing; it must never look like a pass.
        what = str(error) if isinstance(error, ChaosError) else described(error)
        broken = broken or f"judging failed: {what}"
    if broken is not None:
        outcome = Outcome.INCONCLUSIVE if disturbed else Outcome.BROKEN
        return Verdict(outcome, broken, findings, view.faults, recovery, samples, operations, by_sop)
    outcome, reason = concluded
    return Verdict(outcome, reason, findings, view.faults, recovery, samples, operations, by_sop)


def _lag(view: View) -> str | None:
    """How far the traffic generator or the engine fell behind, if one did."""
    traffic, _ = LAG
    for schedule in view.history.rows(r.Schedule):
        if schedule.lag_p99 > LAG_LIMIT:
            return (
                f"{traffic} fell behind its schedule: p99 {format_duration(schedule.lag_p99)}, "
                f"at most {format_duration(LAG_LIMIT)} is allowed"
            )
        if schedule.sent < schedule.planned:
            return f"{traffic} sent {schedule.sent} of {schedule.planned} planned requests"
    for fault in view.faults:
        length = fault.planned_end - fault.planned_start
        for what, at, share in (("began", fault.started, LATE_SHARE), ("was in place", fault.injected, IN_PLACE_SHARE)):
            if length > 0 and (late := at - fault.planned_start) > max(LATE_LIMIT, share * length):
                return (
                    f"{r.ENGINE} was held up: fault {fault.name} {what} {format_duration(late)} late, "
                    f"of {format_duration(length)}"
                )
    return None


def _broken(view: View, planned: Sequence[str] = ()) -> str | None:
    for event in view.history.rows(r.Event):
        if event.what == r.TAKEN:
            return f"{event.service} was not what answered: {event.detail}, which is no process of this service"
    for fault in view.faults:
        # Where the service had ended by itself, that is why, and a finding of its own.
        gone = any(end.service == fault.target and end.at <= fault.ended for end in view.unasked_ends)
        if fault.error is not None and not gone:
            ours = fault.error.startswith(r.ENGINE)
            return f"{fault.error} ({fault.name})" if ours else f"fault {fault.name}: {fault.error}"
    if view.operations and not view.history.rows(r.Schedule):
        return "the run did not come to its end: the traffic generator never closed its schedule"
    injected = {fault.name for fault in view.faults}
    for name in planned:
        if name not in injected:
            return f"fault {name} was never injected"
    return None


def _findings(scenario: Scenario, view: View) -> Iterator[Judged]:
    steady = list(judge_operations("steady_state", scenario.model.steady_state, view, steady_windows(view)))
    ill = any(finding.outcome is Outcome.VIOLATED for finding in steady)
    for finding in steady:
        yield _placed(scenario, finding, ("steady_state",))
    for planned in scenario.expectations:
        for finding in judge_expectation(planned.kind, planned.expectation, view, ill=ill):
            yield _placed(scenario, finding, planned.path, asked=_asked(planned.expectation, finding))
    yield from _ends(scenario, view)
    if not any(planned.kind == "recovery" for planned in scenario.expectations):
        # Steady state must hold again after the last fault, asked for or not.
        recovery = Recovery.model_construct(within=scenario.model.timeline.recovery)
        for finding in excused(list(recovery.judge(view)), view, recovery.judge):
            yield _placed(scenario, dataclasses.replace(finding, path=()), ("timeline", "recovery"), asked=False)
    evidence = list(zip(view.faults, _evidence(view), strict=True))
    for planned_fault in scenario.faults:
        for fault, finding in evidence:
            if fault.name == planned_fault.name:
                yield _placed(scenario, finding, planned_fault.path)


def _ends(scenario: Scenario, view: View) -> Iterator[Judged]:
    """Services that ended by themselves: nobody has to ask for these."""
    allowed = [name for name, spec in scenario.environment.services.items() if spec.ends == "allowed"]
    asked = [
        name
        for planned in scenario.expectations
        if isinstance(planned.expectation, Services)
        for name in planned.expectation.root
    ]
    for finding in unasked_ends(view, [*allowed, *asked]):
        yield _placed(scenario, finding, ("environment",), asked=False)


def _placed(scenario: Scenario, finding: Finding, base: tuple[str | int, ...], *, asked: bool = True) -> Judged:
    path = (*base, *finding.path)
    # An error may come in lines (a database's with a caret below the statement); what is seen is told in one.
    seen, *more = [line.strip() for line in finding.seen.splitlines() if line.strip(" \t^")] or [finding.seen]
    finding = dataclasses.replace(finding, path=path, seen=seen, rows=(*more, *finding.rows))
    return Judged(finding, scenario.source.line(path), asked)


def _asked(expectation: Expectation, finding: Finding) -> bool:
    """Whether the scenario names what was judged; else it is a field of the expectation that has a default."""
    name = finding.path[0] if finding.path else ""
    return name not in type(expectation).model_fields or name in expectation.model_fields_set


def _recovery(view: View) -> float | None:
    end = view.last_cure
    if end is None or not view.steady_state:
        return None
    again = settled(view, end)
    return None if again is None else again.start - end


def _sop_recovery(view: View) -> float | None:
    if view.first_fault is None or not view.steady_state:
        return None
    found = cured(view)
    return found.again - view.first_fault if isinstance(found, Cure) else None


def _evidence(view: View) -> list[Finding]:
    """One finding for each fault: it acted on something."""

    def judge(view: View) -> Iterator[Finding]:
        for fault in view.faults:
            amount = fault.unit if fault.needed == 1 else counted(fault.needed, fault.unit)
            yield Finding(
                f"fault.{fault.name}",
                Outcome.HELD if fault.proved else Outcome.VACUOUS,
                f"the fault acts on {amount}",
                counted(fault.touched, fault.unit),
                fault.touched,
                rows=tuple(f"{key}={value}" for key, value in fault.evidence.items()),
                certain=view.had_time([Window(fault.started, fault.ended)]),
            )

    return excused(list(judge(view)), view, judge)


def _conclude(findings: list[Judged], view: View) -> tuple[Outcome, str]:
    failed = sorted((judged for judged in findings if not judged.finding.held), key=Judged.urgency)
    by = {outcome: [judged for judged in failed if judged.finding.outcome is outcome] for outcome in Outcome}
    ended = [judged for judged in by[Outcome.VIOLATED] if judged.finding.id.startswith(SERVICES)]
    if ended:  # what could not be read, or never held, is what comes of it
        return Outcome.VIOLATED, _say([*ended, *(judged for judged in failed if judged not in ended)])
    if by[Outcome.BROKEN]:
        return Outcome.BROKEN, _say(by[Outcome.BROKEN])
    steady = [judged for judged in by[Outcome.VIOLATED] if judged.finding.id.startswith(STEADY_STATE)]
    unsettled = [judged for judged in by[Outcome.INCONCLUSIVE] if judged.finding.id.startswith(STEADY_STATE)]
    if unsettled and not steady:
        return Outcome.INCONCLUSIVE, f"the machine was disturbed before the first fault: {_say(unsettled)}"
    if steady:
        return Outcome.VACUOUS, f"the steady state never held, so the faults prove nothing: {_say(steady)}"
    if by[Outcome.VIOLATED]:
        return Outcome.VIOLATED, _say(by[Outcome.VIOLATED])
    if by[Outcome.VACUOUS]:
        return Outcome.VACUOUS, f"the rehearsal proves nothing: {_say(by[Outcome.VACUOUS])}"
    if by[Outcome.INCONCLUSIVE]:
        return Outcome.INCONCLUSIVE, f"the machine could have done this: {_say(by[Outcome.INCONCLUSIVE])}"
    if not view.faults:
        return Outcome.VACUOUS, "the rehearsal proves nothing: no fault was injected"
    return Outcome.HELD, f"{counted(len(findings), 'findings')} held"


def _say(failed: list[Judged]) -> str:
    """The worst, in one line; what only follows from another finding is not counted."""
    failed = [judged for judged in failed if not judged.finding.because] or failed
    finding = failed[0].finding
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{finding.id}: expected {finding.expected}, seen {finding.seen}{more}"
