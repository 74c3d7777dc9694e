"""The lanes at the head of the timeline: phases, faults, recovery, alerts, SOPs, processes; pure data.

A source is a function of the facts that gives lanes; :data:`SOURCES` holds them in the order of drawing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations.recovery import Recovery
from chaoskit.history import rows as r
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.incident_lanes import alerts, sops
from chaoskit.report.figures.lane import Lane, Mark, Note, Span, apart, joined, note_of

LABEL = 16
"""Characters of a fault's name that fit at the left of its lane; a longer one is told in full beside the bar."""

MOST_FAULTS = 12
MOST_PROCESSES = 6


def phases(facts: Facts) -> Iterator[Lane]:
    """The phases that have ended."""
    spans = [
        Span(facts.at(phase.start), facts.at(phase.end), f"phase-{index % 2}", name)
        for index, (name, phase) in enumerate(facts.view.phases.items())
        if name != "warm-up"
    ]
    if spans:
        yield Lane("phase", spans)


def faults(facts: Facts) -> Iterator[Lane]:
    """One lane for each planned fault: when it was active, what it touched; or where it was planned."""
    for number, (planned, row) in enumerate(facts.faults[:MOST_FAULTS], 1):
        what = f"{planned.kind} on {planned.fault.target}"
        if len(planned.name) > LABEL:
            what = f"{planned.name} · {what}"
        name = f"fault-{number}"
        if row is None:
            span = Span(planned.at, planned.at + planned.length, "planned", what, name)
            yield Lane(planned.name, [span], note=Note("never injected", "broken"))
            continue
        look = "fault" if row.proved and row.error is None else "fault-without-effect"
        span = Span(facts.at(row.started), facts.at(row.ended), look, what, name)
        if row.error is not None:
            note = Note(f"failed: {row.error}", "broken")
        elif row.proved:
            note = Note(f"touched {counted(row.touched, row.unit)}")
        elif row.touched:
            note = Note(f"touched {row.touched} of {counted(row.needed, row.unit)}", "vacuous")
        else:
            note = Note(f"touched nothing (0 {row.unit})", "vacuous")
        yield Lane(planned.name, [span], note=note)
    if len(facts.faults) > MOST_FAULTS:
        rest = [
            Span(facts.at(row.started), facts.at(row.ended), "fault", "", f"fault-{number}")
            for number, (_, row) in enumerate(facts.faults[MOST_FAULTS:], MOST_FAULTS + 1)
            if row is not None
        ]
        yield Lane(f"{len(facts.faults) - MOST_FAULTS} more faults", rest)


def recovery(facts: Facts) -> Iterator[Lane]:
    """From the end of the last fault to the moment at which steady state held again, and the limit for it."""
    end = facts.view.last_cure
    if end is None or facts.verdict.outcome == "broken":
        return
    asked = [planned.expectation for planned in facts.scenario.expectations]
    limit = min(
        (expectation.within for expectation in asked if isinstance(expectation, Recovery)),
        default=facts.scenario.model.timeline.recovery,
    )
    start, seconds = facts.at(end), facts.verdict.recovery
    finding = facts.finding("recovery")
    note = note_of(finding, f"within {format_duration(limit)}") if finding else None
    marks = [Mark(start + limit, "limit", "limit")] if start + limit <= facts.range.end else []
    if seconds is None:
        spans = [Span(start, facts.range.end, "missed", "steady state did not come back")]
    elif seconds == 0:
        spans, marks = [], [Mark(start, "recovered", "at once"), *marks]
    else:
        spans = [Span(start, start + seconds, "recovery", format_duration(seconds))]
    yield Lane("recovery", spans, marks, note)


def processes(facts: Facts) -> Iterator[Lane]:
    """Services whose process was killed, ended, paused or restarted while the scenario ran."""
    shown = facts.range
    by_service: dict[str, list[r.Event]] = {}
    for event in sorted(facts.history.rows(r.Event), key=lambda event: event.at):
        if shown.start <= facts.at(event.at) <= shown.end:
            by_service.setdefault(event.service, []).append(event)
    lanes = [lane for service, events in by_service.items() if (lane := _process(facts, service, events))]
    lanes.sort(key=lambda lane: -len(lane.marks))
    yield from lanes[:MOST_PROCESSES]
    if len(lanes) > MOST_PROCESSES:
        rest = sorted((mark for lane in lanes[MOST_PROCESSES:] for mark in lane.marks), key=lambda mark: mark.at)
        yield Lane(f"{len(lanes) - MOST_PROCESSES} more processes", marks=apart(rest, facts.range.length))


_DOWN = {"killed", "exited", "given up"}
_UP = {"ready", "continued"}


def _process(facts: Facts, service: str, events: Iterable[r.Event]) -> Lane | None:
    spans, marks, counted = list[Span](), list[Mark](), Counter[str]()
    since: tuple[float, str] | None = None
    killed: int | None = None
    for event in events:
        at = facts.at(event.at)
        if event.what in _DOWN | {"restarted", "paused"}:
            since = since or (at, "paused" if event.what == "paused" else "down")
        elif event.what in _UP and since is not None:
            spans.append(Span(since[0], at, since[1]))
            since = None
        if event.what == "killed":
            killed = event.pid
        if event.what == "exited" and event.pid is not None and event.pid == killed:
            continue  # the end of a process that was killed is no second event
        status = "exited" if event.code is None else f"exit {event.code}"
        text = {"killed": f"killed {event.detail}", "exited": status}.get(event.what, event.what)
        if event.what not in ("ready", "started", "continued"):
            marks.append(Mark(at, "start" if event.what == "restarted" else "end", text.strip()))
            counted[event.what] += 1
    if since is not None:
        spans.append(Span(since[0], facts.range.end, since[1]))
    if not marks and not spans:
        return None
    told = ", ".join(what if count == 1 else f"{what} {count}×" for what, count in counted.items())
    lost = sum(span.end - span.start for span in spans if span.look == "down")
    if lost:
        told += f" · down {format_duration(lost)}"
    note, length = Note(told), facts.range.length
    if finding := facts.finding(f"resources.{service}.pid"):
        note = Note(f"pid {finding.expected} · {told}", str(finding.outcome))
    return Lane(f"process {service}", joined(spans, length), apart(marks, length), note)


def machine(facts: Facts) -> Iterator[Lane]:
    """When somebody else took of the machine, and how much; no lane where it was calm."""
    shown, calm = facts.range, facts.view.calm
    windows = [window for window in calm.windows if facts.at(window.end) > shown.start]
    windows = [window for window in windows if facts.at(window.start) < shown.end]
    if windows:
        spans = [Span(facts.at(each.start), facts.at(each.end), "disturbed", calm.who(each)) for each in windows]
        share = sum(each.length for each in windows) / shown.length
        yield Lane("machine", joined(spans, shown.length), note=Note(f"disturbed {min(share, 1.0):.0%} of the time"))


SOURCES: tuple[Callable[[Facts], Iterator[Lane]], ...] = (phases, faults, recovery, alerts, sops, processes, machine)
"""What is drawn, from top to bottom."""


def lanes_of(facts: Facts) -> list[Lane]:
    """All lanes of a scenario."""
    return [lane for source in SOURCES for lane in source(facts)]
