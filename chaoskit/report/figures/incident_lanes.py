"""The lanes of alerts and of the SOPs that they have started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from chaoskit.history import rows as r
from chaoskit.history.alerts import incidents
from chaoskit.report.figures.facts import Facts
from chaoskit.report.figures.lane import Lane, Mark, Note, Span, apart, joined, note_of

MOST_ALERTS = 6
MOST_SOPS = 4


def alerts(facts: Facts) -> Iterator[Lane]:
    """One lane for each name of an alert: when it was pending and firing, and what of it was delivered."""
    shown = facts.range
    rows = sorted(facts.history.rows(r.Alert), key=lambda row: row.at)
    names = list(dict.fromkeys(row.name for row in rows if facts.at(row.at) <= shown.end))
    for name in names[:MOST_ALERTS]:
        yield _alert(facts, name, [row for row in rows if row.name == name])
    if len(names) > MOST_ALERTS:
        fired = [
            Mark(facts.at(life.fired), "alert", life.name)
            for life in incidents(rows)
            if life.name in names[MOST_ALERTS:]
        ]
        yield Lane(f"{len(names) - MOST_ALERTS} more alerts", marks=apart(fired, shown.length))


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
    return Lane(f"alert {name}", joined(spans, facts.range.length), apart(marks, facts.range.length), note)


def _pending(rows: Sequence[r.Alert]) -> Iterator[tuple[float, float]]:
    """From when to when an alert was pending, whether it fired then or not."""
    since: dict[str, float] = {}
    for row in rows:
        if row.state == "pending":
            since.setdefault(row.fingerprint, row.at)
        elif row.state in ("firing", "inactive") and row.fingerprint in since:
            yield since.pop(row.fingerprint), row.at
    yield from ((at, inf) for at in since.values())


def sops(facts: Facts) -> Iterator[Lane]:
    """One lane for each SOP: when it waited in the queue, ran, and what became of it."""
    by_name: dict[str, list[r.SopRun]] = {}
    for row in sorted(facts.history.rows(r.SopRun), key=lambda row: row.queued):
        if facts.at(row.queued) <= facts.range.end:
            by_name.setdefault(row.sop, []).append(row)
    names = list(by_name)
    for name in names[:MOST_SOPS]:
        yield _sop(facts, name, by_name[name])
    if len(names) > MOST_SOPS:
        queued = [Mark(facts.at(row.queued), "start", name) for name in names[MOST_SOPS:] for row in by_name[name]]
        yield Lane(f"{len(names) - MOST_SOPS} more SOPs", marks=apart(queued, facts.range.length))


def _sop(facts: Facts, name: str, runs: Sequence[r.SopRun]) -> Lane:
    length, spans, marks = facts.range.length, list[Span](), list[Mark]()
    begun = [(row, facts.at(row.started)) for row in runs if row.started is not None]
    for row, start in begun:
        end = facts.at(row.ended) if row.ended is not None else facts.range.end
        spans += [Span(facts.at(row.queued), start, "pending"), Span(start, end, "firing")]
        look = "end" if row.outcome == "failed" else "start"
        marks.append(Mark(start, look, f"{row.action_type} {row.target_service}"))
    told = [f"{row.outcome} because of {row.alert}" for row, _ in begun[:1]] or ["did not run"]
    if len(begun) > 1:
        told.append(f"{len(begun)} runs")
    if len(runs) > len(begun):
        told.append(f"{len(runs) - len(begun)} decided against")
    return Lane(f"SOP {name}", joined(spans, length), apart(marks, length), Note(" · ".join(told)))
