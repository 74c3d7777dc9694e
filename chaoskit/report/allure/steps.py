"""A scenario as Allure's steps: its phases with the faults in them, then its expectations with their findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chaoskit.base.units import counted
from chaoskit.history import rows as r
from chaoskit.judge.verdict import ORDER
from chaoskit.language.expectation import Outcome
from chaoskit.report import summary
from chaoskit.report._evidence import plain
from chaoskit.report._moments import window
from chaoskit.report.allure.words import causes, clean, sentence
from chaoskit.report.figures.facts import Facts

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.judge.verdict import Judged


class Steps:
    """Makes the steps of one result. ``offset`` is seconds from the monotonic clock to the wall clock."""

    def __init__(self, result: Result, offset: float) -> None:
        self.result = result
        self.offset = offset
        self._facts = Facts(result.scenario, result.history, result.verdict)

    def all(self) -> list[Any]:
        """allure-pytest's ``TestStepResult`` objects."""
        history = self.result.history
        faults = history.rows(r.Fault)
        phases = history.rows(r.Phase)
        steps = []
        for phase in phases:
            inside = [fault for fault in faults if phase.started <= fault.started < phase.ended]
            faults = [fault for fault in faults if fault not in inside]
            steps.append(self._phase(phase, inside))
        steps += [self._fault(fault) for fault in faults]  # of a phase that never ended
        end = max((phase.ended for phase in phases), default=0.0)
        groups: dict[str, list[tuple[Judged, list[Judged]]]] = {}
        for judged, follow in causes(self.result.verdict.findings):
            groups.setdefault(judged.finding.id.partition(".")[0], []).append((judged, follow))
        steps += [self._expectation(name, group, end) for name, group in groups.items()]
        return steps

    def faults(self) -> Iterator[str]:
        """Every fault in a line: what, where, when, and what it touched."""
        for fault in self.result.history.rows(r.Fault):
            yield self._told(fault)

    def _told(self, fault: r.Fault) -> str:
        window = self._window(fault.started, fault.ended)
        touched = counted(fault.touched, fault.unit)
        text = f"fault {fault.name}: {fault.kind} on {fault.target}, {window}, touched {touched}"
        return f"{text}; {fault.error}" if fault.error else text

    def _window(self, started: float, ended: float) -> str:
        return window(started, ended, self._facts.origin)

    def _phase(self, phase: r.Phase, faults: Sequence[r.Fault]) -> Any:
        title = f"phase {phase.name}, {self._window(phase.started, phase.ended)}"
        inner = [self._fault(fault) for fault in faults]
        return self._step(title, phase.started, phase.ended, Outcome.HELD, steps=inner)

    def _fault(self, fault: r.Fault) -> Any:
        outcome = Outcome.BROKEN if fault.error else Outcome.HELD if fault.proved else Outcome.VACUOUS
        return self._step(
            self._told(fault),
            fault.started,
            fault.ended,
            outcome,
            {name: plain(value) for name, value in summary.flat(fault.evidence)},
            fault.error or "",
        )

    def _expectation(self, name: str, findings: Sequence[tuple[Judged, list[Judged]]], at: float) -> Any:
        outcome = min((judged.finding.outcome for judged, _ in findings), key=ORDER.index)
        held = sum(judged.finding.held for judged, _ in findings)
        inner = [self._finding(judged, at, follow) for judged, follow in findings]
        title = "evidence of the faults" if name == "fault" else f"expect {name}"
        return self._step(f"{title}: {held} of {len(findings)} held", at, at, outcome, steps=inner)

    def _finding(self, judged: Judged, at: float, follow: Sequence[Judged] = ()) -> Any:
        """A finding; those that ``follow`` from it are steps in it."""
        finding = judged.finding
        details: dict[str, Any] = {"expected": finding.expected, "seen": finding.seen, "samples": finding.samples}
        if finding.worst:
            details["worst"] = finding.worst
        if finding.rows and not finding.id.startswith("fault."):  # its evidence stands at the step of the fault
            details["rows"] = ", ".join(finding.rows[:5]) + (" ..." if len(finding.rows) > 5 else "")
        details["line"] = f"{self.result.scenario.file.name}:{judged.line}"
        title = f"{finding.outcome} {finding.id}: {finding.seen} (expected {finding.expected})"
        title += f", and {counted(len(follow), 'more findings')} because of this" if follow else ""
        inner = [self._finding(each, at) for each in follow]
        return self._step(title, at, at, finding.outcome, details, "" if finding.held else sentence(finding), inner)

    def _step(
        self,
        title: str,
        start: float,
        end: float,
        outcome: Outcome,
        details: Mapping[str, Any] | None = None,
        message: str = "",
        steps: Sequence[Any] = (),
    ) -> Any:
        from allure_commons.model2 import Parameter, Status, StatusDetails, TestStepResult

        unsaid = Outcome.BROKEN, Outcome.INCONCLUSIVE  # neither says anything about the service
        status = Status.PASSED if outcome is Outcome.HELD else Status.BROKEN if outcome in unsaid else Status.FAILED
        return TestStepResult(
            name=clean(title),
            status=status,
            statusDetails=StatusDetails(message=clean(message)) if message else None,
            start=self._milliseconds(start),
            stop=self._milliseconds(end),
            parameters=[Parameter(name=key, value=clean(str(value))) for key, value in (details or {}).items()],
            steps=list(steps),
        )

    def _milliseconds(self, moment: float) -> int:
        return round((moment + self.offset) * 1000)
