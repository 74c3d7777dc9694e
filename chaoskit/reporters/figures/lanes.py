"""The lanes at the head of the timeline: phases, faults, recovery, alerts, processes; pure data.

A source is a function of the facts that gives lanes; :data:`SOURCES` holds them in the order of drawing. What is
marked on the timeline beside them (runs of an SOP) is one more source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from chaoskit.expectations.base import Finding
from chaoskit.expectations.recovery import Recovery
from chaoskit.history import rows as r
from chaoskit.history.alerts import incidents
from chaoskit.reporters.figures.facts import Facts
from chaoskit.units import format_duration

LABEL = 16
"""Characters of a fault's name that fit at the left of its lane; a longer one is told in full beside the bar."""

MOST_FAULTS = 12
MOST_PROCESSES = 6
MOST_ALERTS = 6
FINEST = 200
"""Parts of the axis: what lies closer together cannot be told apart."""


@dataclass(frozen=True)
class Span:
    """Something that lasted. ``look`` names how it is drawn, ``id`` becomes the element's id in the SVG."""

    start: float
    end: float
    look: str
    text: str = ""
    id: str = ""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    at: float
    look: str
    text: str = ""


@dataclass(frozen=True)
class Note:
    """Words in the right margin; ``outcome`` gives colour and sign, empty for neither."""

    text: str
    outcome: str = ""


@dataclass(frozen=True)
class Lane:
    """One line: a label at the left, what happened, a note at the right."""

    label: str
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    note: Note | None = None


def note_of(finding: Finding, words: str) -> Note:
    """A finding as a note: ``words`` (what was asked), then what was seen."""
    # What stands in brackets is detail, for the table of findings.
    return Note(f"{words} · {finding.seen.partition(' (')[0]}", str(finding.outcome))


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
        look = "fault" if row.touched and row.error is None else "fault-without-effect"
        span = Span(facts.at(row.started), facts.at(row.ended), look, what, name)
        if row.error is not None:
            note = Note(f"failed: {row.error}", "broken")
        elif row.touched:
            note = Note(f"touched {row.touched} {row.unit}")
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
    end = facts.view.last_fault_end
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
    for event in sorted(facts.history.of(r.Event), key=lambda event: event.at):
        if shown.start <= facts.at(event.at) <= shown.end:
            by_service.setdefault(event.service, []).append(event)
    lanes = [lane for service, events in by_service.items() if (lane := _process(facts, service, events))]
    lanes.sort(key=lambda lane: -len(lane.marks))
    yield from lanes[:MOST_PROCESSES]
    if len(lanes) > MOST_PROCESSES:
        rest = sorted((mark for lane in lanes[MOST_PROCESSES:] for mark in lane.marks), key=lambda mark: mark.at)
        yield Lane(f"{len(lanes) - MOST_PROCESSES} more processes", marks=_apart(rest, facts.range.length))


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
        text = {"killed": f"killed {event.detail}", "exited": f"exit {event.code}"}.get(event.what, event.what)
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
    return Lane(f"process {service}", _joined(spans, length), _apart(marks, length), note)


def _apart(marks: Iterable[Mark], length: float) -> list[Mark]:
    """Marks in order, without those that would lie on the one before: of a crash loop there may be thousands."""
    kept: list[Mark] = []
    for mark in marks:
        if all(mark.at - other.at > length / FINEST for other in kept[-2:] if other.look == mark.look):
            kept.append(mark)
    return kept


def _joined(spans: Iterable[Span], length: float) -> list[Span]:
    """Spans in order, those put together that have no gap between them that could be seen."""
    kept: list[Span] = []
    for span in spans:
        if kept and kept[-1].look == span.look and span.start - kept[-1].end < length / FINEST:
            kept[-1] = replace(kept[-1], end=span.end)
        else:
            kept.append(span)
    return kept


def alerts(facts: Facts) -> Iterator[Lane]:
    """One lane for each name of an alert: when it was pending and firing, and what of it was delivered."""
    shown = facts.range
    rows = sorted(facts.history.of(r.Alert), key=lambda row: row.at)
    names = list(dict.fromkeys(row.name for row in rows if facts.at(row.at) <= shown.end))
    for name in names[:MOST_ALERTS]:
        yield _alert(facts, name, [row for row in rows if row.name == name])
    if len(names) > MOST_ALERTS:
        fired = [
            Mark(facts.at(life.fired), "alert", life.name)
            for life in incidents(rows)
            if life.name in names[MOST_ALERTS:]
        ]
        yield Lane(f"{len(names) - MOST_ALERTS} more alerts", marks=_apart(fired, shown.length))


def _alert(facts: Facts, name: str, rows: Sequence[r.Alert]) -> Lane:
    lives, end = incidents(rows), facts.range.end
    spans = [Span(facts.at(pending), facts.at(until), "pending", "pending") for pending, until in _pending(rows)]
    spans += [
        Span(facts.at(life.fired), facts.at(life.ended) if life.ended is not None else end, "firing", "firing")
        for life in lives
    ]
    spans = [span for span in spans if span.start < end]
    sent = [row for row in rows if row.state == "delivered" and facts.at(row.at) <= end]
    looks = {False: ("start", "delivered"), True: ("end", "refused")}
    marks = [Mark(facts.at(row.at), *looks[bool(row.refused)]) for row in sent]
    found = facts.findings(f"alerts.{name}")
    if found:
        note = note_of(found[0], found[0].id.rpartition(".")[2].replace("_", " "))
    else:
        note = Note(f"fired {len(lives)}×" if lives else "never fired")
    spans.sort(key=lambda span: span.start)
    return Lane(f"alert {name}", _joined(spans, facts.range.length), _apart(marks, facts.range.length), note)


def _pending(rows: Sequence[r.Alert]) -> Iterator[tuple[float, float]]:
    """From when to when an alert was pending, whether it fired then or not."""
    since: dict[str, float] = {}
    for row in rows:
        if row.state == "pending":
            since.setdefault(row.fingerprint, row.at)
        elif row.state in ("firing", "inactive") and row.fingerprint in since:
            yield since.pop(row.fingerprint), row.at
    yield from ((at, inf) for at in since.values())


SOURCES: tuple[Callable[[Facts], Iterator[Lane]], ...] = (phases, faults, recovery, alerts, processes)
"""What is drawn, from top to bottom."""


def lanes_of(facts: Facts) -> list[Lane]:
    """All lanes of a scenario."""
    return [lane for source in SOURCES for lane in source(facts)]
