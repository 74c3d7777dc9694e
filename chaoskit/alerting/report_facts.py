"""What a fault report takes from the history: logs, failing requests and their traces, faults, events.

Everything is bounded, and masked: a report is read by people and sent about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chaoskit.alerting.fault_report import Failure, FaultWindow, Line, Logs, Moment
from chaoskit.base.mask import mask
from chaoskit.base.units import counted
from chaoskit.history import rows as r
from chaoskit.history.store import History

SECONDS = 300.0
"""How far a report looks back."""
MOST_LINES = 1_000
MOST_BYTES = 256 * 1024
"""Of log lines in one report."""
LONGEST = 4_000
"""Characters of one log line."""
MOST_FAILURES = 20
MOST_TRACES = 20
MOST_MOMENTS = 200
_READ = 30_000
"""Log lines that are looked at: the latest."""

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")
_TRACE_FIELDS = ("trace_id", "traceId", "trace.id", "traceid")
_SEVERE = {"error", "critical", "fatal", "panic", "alert", "emergency"}

Clock = Callable[[float], str]
"""Makes an RFC 3339 time of monotonic seconds."""


@dataclass(frozen=True)
class Planned:
    """A fault as the timeline plans it, with monotonic seconds."""

    name: str
    kind: str
    target: str
    start: float
    end: float


@dataclass
class Traces:
    """What the JSON logs say of traces: the id by request id, those of severe lines (newest first), and all."""

    by_request: dict[str, str] = field(default_factory=dict)
    severe: list[str] = field(default_factory=list)
    logged: set[str] = field(default_factory=set)
    of_row: dict[int, str] = field(default_factory=dict)


def recent(history: History, until: float) -> list[r.Log]:
    """The log lines of the last :data:`SECONDS`, oldest first."""
    rows = history.rows(r.Log)[-_READ:]
    return sorted((row for row in rows if until - SECONDS <= row.at <= until), key=lambda row: row.at)


def traces_in(rows: Sequence[r.Log]) -> Traces:
    """The traces that JSON log lines name."""
    found = Traces()
    for row in reversed(rows):
        said = _document(row.line)
        trace = next((str(said[name]) for name in _TRACE_FIELDS if said.get(name)), "")
        if not trace:
            continue
        found.logged.add(trace)
        found.of_row[id(row)] = trace
        if said.get("request_id"):
            found.by_request.setdefault(str(said["request_id"]), trace)
        if str(said.get("level", "")).lower() in _SEVERE and trace not in found.severe:
            found.severe.append(trace)
    return found


def failures(history: History, planned: Iterable[Planned], traces: Traces, until: float, clock: Clock) -> list[Failure]:
    """The latest requests that failed, newest first; then those that a fallback answered while a fault was active."""
    windows = [_window(history, plan) for plan in planned]

    def concerns(row: r.Request) -> bool:
        return not row.ok or (row.fallback and any(start <= row.ended <= end for start, end in windows))

    bad = [row for row in history.rows(r.Request) if until - SECONDS <= row.ended <= until and concerns(row)]
    bad.sort(key=lambda row: (row.ok, -row.ended))
    seen = {row.id: row.headers.get("traceparent", "") for row in history.rows(r.Exchange) if row.id} if bad else {}
    return [
        Failure(
            time=clock(row.ended), operation=row.op, method=row.method, path=mask(row.path), status=row.status,
            error=row.error or "", fallback=row.fallback, request_id=row.id, trace_id=_trace_of(row, traces, seen),
        )
        for row in bad[:MOST_FAILURES]
    ]  # fmt: skip


def _window(history: History, plan: Planned) -> tuple[float, float]:
    """When a fault was active: as it was where it has ended, else as it is planned."""
    row = next((row for row in history.rows(r.Fault) if row.name == plan.name), None)
    return (row.started, row.ended) if row else (plan.start, plan.end)


def _trace_of(row: r.Request, traces: Traces, seen: Mapping[str, str]) -> str:
    for text in (row.headers.get("traceparent", ""), seen.get(row.id, "")):
        if match := _TRACEPARENT.match(text):
            return match[1]
    return traces.by_request.get(row.id, "")


def trace_ids(failed: Iterable[Failure], traces: Traces) -> list[str]:
    """The traces of failing requests that the logs know, those of severe log lines, those of other failing requests."""
    of_requests = [failure.trace_id for failure in failed if failure.trace_id]
    known = [trace for trace in of_requests if trace in traces.logged]
    return list(dict.fromkeys([*known, *traces.severe, *of_requests]))[:MOST_TRACES]


def logs(rows: Sequence[r.Log], traces: Traces, wanted: Iterable[str], clock: Clock) -> Logs:
    """As many lines as there is room for: those of the traces ``wanted`` first, then the newest."""
    named = set(wanted)
    order = sorted(rows, key=lambda row: (traces.of_row.get(id(row)) not in named, -row.at))
    kept: list[r.Log] = []
    room = MOST_BYTES
    for row in order[:MOST_LINES]:
        size = len(row.line[:LONGEST].encode())
        if size > room:
            break
        room -= size
        kept.append(row)
    lines = [
        Line(time=clock(row.at), service=row.service, stream=row.stream, line=mask(row.line[:LONGEST]))
        for row in sorted(kept, key=lambda row: row.at)
    ]
    return Logs(seconds=SECONDS, omitted=len(rows) - len(kept), lines=lines)


def faults(history: History, planned: Iterable[Planned], until: float, clock: Clock) -> list[FaultWindow]:
    """The faults that have begun: as they were where they have ended, else as they are planned."""
    ended = {row.name: row for row in history.rows(r.Fault)}
    found = []
    for plan in planned:
        row = ended.get(plan.name)
        if row is None and plan.start > until:
            continue
        found.append(
            FaultWindow(
                name=plan.name, kind=plan.kind, target=plan.target,
                started=clock(row.started if row else plan.start), planned_end=clock(plan.end),
                ended=clock(row.ended) if row else None, touched=counted(row.touched, row.unit) if row else None,
            )
        )  # fmt: skip
    return found


def timeline(history: History, more: Iterable[tuple[float, str]], clock: Clock) -> list[Moment]:
    """What happened, in order of time: faults, services, alerts, and ``more`` (what the SOPs did)."""
    moments = list(more)
    for fault in history.rows(r.Fault):
        moments.append((fault.started, f"fault {fault.name}: {fault.kind} on {fault.target}"))
        moments.append((fault.ended, f"fault {fault.name} lifted"))
    moments += [
        (event.at, " ".join(filter(None, (f"{event.service}: {event.what}", event.detail))))
        for event in history.rows(r.Event)
    ]
    moments += [
        (alert.at, f"alert {alert.name} {alert.state}" + (f", refused: {alert.refused}" if alert.refused else ""))
        for alert in history.rows(r.Alert)
    ]
    moments.sort(key=lambda moment: moment[0])
    return [Moment(time=clock(at), what=mask(what)) for at, what in moments[-MOST_MOMENTS:]]


def _document(line: str) -> Mapping[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        said = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
