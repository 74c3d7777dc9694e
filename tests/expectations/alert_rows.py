"""Alerts, evaluations of rules, and the verdict on them, for the tests of ``alerts``."""

from __future__ import annotations

from typing import Any

from chaoskit.history.alerts import fingerprint
from chaoskit.history.rows import Alert, Rules, Sample
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Alerts = EXPECTATIONS.get("alerts")
ORIGIN = 1000.0
HELD, VIOLATED, VACUOUS, BROKEN = Outcome.HELD, Outcome.VIOLATED, Outcome.VACUOUS, Outcome.BROKEN
NAME = "OrdersPanics"
QUERY = 'sum by (service) (increase(panics_total{service="orders_x"}[5m])) > 10'


def alert(at: float, state: str, name: str = NAME, *, source: str = "rules", **more: Any) -> Alert:
    """A row; moments count from the start of the fault."""
    labels = {"alertname": name, "severity": "P2", "service": "orders", **more.pop("labels", {})}
    notes = more.pop("annotations", {"summary": "12 panics", "runbook_url": "http://127.0.0.1:1/panics"})
    return Alert(
        name=name, state=state, at=ORIGIN + at, source=source, fingerprint=fingerprint(labels), labels=labels,
        annotations=notes, **more,
    )  # fmt: skip


def look(
    rehearsal: Any, names: tuple[str, ...] = (NAME,), *, start: float = -5.0, end: float = 11.0,
    scraped: tuple[str, ...] = ("panics_total",), **more: Any,
) -> None:  # fmt: skip
    """Rules that are evaluated five times a second, seen once a second; their metrics are there, and stand still."""
    for metric in scraped:
        rehearsal.add(Sample(service="orders", name=metric, at=ORIGIN + start, value=0.0))
    at = start
    while at < end:
        fields = {"evaluated": dict.fromkeys(names, ORIGIN + at - 0.1), "queries": dict.fromkeys(names, QUERY), **more}
        rehearsal.add(Rules(at=ORIGIN + at, **fields))
        at += 1.0


def judged(by_id: Any, rehearsal: Any, **asked: Any) -> dict[str, Any]:
    return by_id(Alerts.model_validate(asked), rehearsal.view())
