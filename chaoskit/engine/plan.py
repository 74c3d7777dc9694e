"""The timeline as plain data: what starts and stops when. Printed without touching anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.base.units import format_duration, format_rate
from chaoskit.language.planned import PlannedFault
from chaoskit.language.scenario import Scenario
from chaoskit.language.source import shown


@dataclass(frozen=True)
class Step:
    """Something that happens ``at`` seconds after the traffic starts; ``length`` None: until it is done."""

    at: float
    length: float | None
    what: str
    target: str = ""


@dataclass(frozen=True)
class Plan:
    """All steps of a scenario, in order of time."""

    scenario: Scenario
    steps: tuple[Step, ...]

    @property
    def declared(self) -> float:
        """Seconds that the timeline takes at least: steady, faults and after, with no time for recovery."""
        timeline = self.scenario.model.timeline
        return timeline.steady + self.scenario.faults_length + timeline.after


def plan(scenario: Scenario) -> Plan:
    """The plan of a scenario. Pure."""
    timeline = scenario.model.timeline
    start = timeline.steady
    end = start + scenario.faults_length
    steps = [Step(0.0, timeline.steady, "phase steady")]
    for fault in sorted(scenario.faults, key=lambda fault: fault.at):
        what = f"fault {fault.name}: {fault.kind} {_arguments(scenario, fault)}".rstrip()
        steps.append(Step(start + fault.at, fault.length, what, fault.fault.target))
    steps.append(Step(end, timeline.recovery, "phase recovery (ends when steady state holds again)"))
    if timeline.after:
        steps.append(Step(end + timeline.recovery, timeline.after, "phase after"))
    return Plan(scenario, tuple(steps))


def _arguments(scenario: Scenario, fault: PlannedFault) -> str:
    """The arguments as they stand in the file, with their units."""
    written = scenario.source.data
    for step in (*fault.path, fault.kind):
        written = written[step]
    return ", ".join(f"{name}={_plain(value)}" for name, value in (written or {}).items())


def _plain(value: object) -> str:
    """A value as YAML's flow style has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return (
        {True: "true", False: "false", None: "null"}.get(value, str(value))
        if isinstance(value, (bool, type(None)))
        else str(value)
    )


def describe(planned: Plan) -> Iterator[str]:
    """The plan as lines of text, with everything that the scenario will touch."""
    scenario = planned.scenario
    model = scenario.model
    yield f"{scenario.name}"
    yield f"  file         {shown(scenario.file)}   severity {model.severity}   case {model.case or '-'}"
    yield f"  environment  {scenario.environment.name}: {', '.join(scenario.environment.services)}"
    for name, operation in model.traffic.items():
        copies = f" × {operation.copies} copies" if operation.copies > 1 else ""
        yield f"  traffic      {name}: {operation.request} at {format_rate(operation.rate)}{copies}"
    yield "  timeline"
    for step in planned.steps:
        length = "" if step.length is None else f"for {format_duration(step.length)}"
        yield f"    {format_duration(step.at):>8}  {length:<12} {step.what}"
    touched = sorted({step.target for step in planned.steps if step.target})
    yield f"  touches      {', '.join(touched)}"
    kinds = ", ".join(dict.fromkeys(planned_.kind for planned_ in scenario.expectations)) or "steady state only"
    yield f"  judges       {kinds}"
    for sop in scenario.sops:
        steps = ", ".join(f"{step.kind} {step.action.target}".strip() for step in sop.steps) or sop.action_type
        yield f"  SOP          {sop.name}: {steps} ({sop.model.priority})"
    if model.control:
        changes = ", ".join(
            [
                *(
                    f"{service}: {key}={value}"
                    for service, change in model.control.with_.items()
                    for key, value in (*change.env.items(), *([("restart", change.restart)] if change.restart else []))
                ),
                *([f"no {model.control.without}"] if model.control.without else []),
            ]
        )
        yield f"  control      {changes} must violate {', '.join(model.control.violates)}"
