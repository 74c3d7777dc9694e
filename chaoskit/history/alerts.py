"""The lives of alerts, put together from their rows: a pure function, the same while it runs and next year.

An *incident* is one life of one alert: from pending, through firing, to its end. Prometheus tells of a firing alert
again and again; however often that is, it is one incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chaoskit.history.rows import Alert

RULES = "rules"
"""The ``source`` of rows that say what the rules say; the others are notifications."""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hex digits, the same for the same labels: FNV-1a as Prometheus and Alertmanager compute it."""
    digest = 0xCBF29CE484222325
    for name in sorted(labels):
        for part in (name, labels[name]):
            for byte in (*part.encode(), 0xFF):
                digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def unix_time(text: str) -> float | None:
    """Unix seconds of an RFC 3339 time; None when it is none. Go's zero time, which means never, is negative."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass
class Incident:
    """One life of an alert, monotonic seconds. ``pending`` is None where it fired at once, or nobody saw it pending.

    ``ended`` is None while it lasts. ``source`` is that of its first row.
    """

    name: str
    fingerprint: str
    source: str
    fired: float
    pending: float | None = None
    ended: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def active(self) -> float:
        """When its cause was first seen: pending, or firing."""
        return self.fired if self.pending is None else self.pending


def incidents(rows: Iterable[Alert]) -> list[Incident]:
    """All lives of alerts in ``rows``, in the order in which they fired.

    Where the rules were observed, they say when an alert fired; notifications tell it for all alerts that no rule
    was seen for. A notification that the sink refused tells nothing.
    """
    ordered = sorted(rows, key=lambda row: row.at)
    by_rules = _by_rules(row for row in ordered if row.source == RULES)
    known = {row.name for row in ordered if row.source == RULES}
    told = _by_notifications(
        row for row in ordered if row.source != RULES and not row.refused and row.name not in known
    )
    return sorted([*by_rules, *told], key=lambda incident: incident.fired)


def _by_rules(rows: Iterable[Alert]) -> list[Incident]:
    found: list[Incident] = []
    pending: dict[str, float] = {}
    open_: dict[str, Incident] = {}
    for row in rows:
        match row.state:
            case "pending":
                _end(open_, row)
                pending.setdefault(row.fingerprint, row.at)
            case "firing" if row.fingerprint not in open_:
                open_[row.fingerprint] = _incident(row, pending.pop(row.fingerprint, None))
                found.append(open_[row.fingerprint])
            case "inactive":
                pending.pop(row.fingerprint, None)
                _end(open_, row)
    return found


def _by_notifications(rows: Iterable[Alert]) -> list[Incident]:
    """One for each ``starts_at`` of a fingerprint; where none is told, from a notification to the one that resolves."""
    found: list[Incident] = []
    lives: dict[tuple[str, str], Incident] = {}
    for row in rows:
        key = (row.fingerprint, row.starts_at)
        life = lives.get(key)
        if row.state == "resolved":
            if life is not None and life.ended is None:
                life.ended = row.at
        elif life is None or (life.ended is not None and not row.starts_at):
            lives[key] = _incident(row, None)
            found.append(lives[key])
    return found


def _incident(row: Alert, pending: float | None) -> Incident:
    return Incident(
        row.name, row.fingerprint, row.source, row.at, pending, None, dict(row.labels), dict(row.annotations)
    )


def _end(open_: dict[str, Incident], row: Alert) -> None:
    incident = open_.pop(row.fingerprint, None)
    if incident is not None:
        incident.ended = row.at
