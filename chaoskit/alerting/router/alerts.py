"""Alerts as they were told to us, and which of them others silence."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chaoskit.alerting.router.settings import Inhibition
from chaoskit.rules.promql.series import Labels


@dataclass(frozen=True)
class Alert:
    """One alert, as it was told last. Times are Unix seconds."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float
    generator: str

    @property
    def key(self) -> Labels:
        """The same for the same alert."""
        return frozenset(self.labels.items())

    def resolved(self, moment: float) -> bool:
        """Whether it is over."""
        return self.ends_at <= moment


def fingerprint(labels: Mapping[str, str]) -> str:
    """As Prometheus computes it: FNV-1a of the sorted labels."""
    total = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in (*name.encode(), 255, *value.encode(), 255):
            total = ((total ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{total:016x}"


def read(told: Any, moment: float, resolve_timeout: float) -> Alert:
    """One alert of ``POST /api/v2/alerts``. Raises ValueError, KeyError or TypeError for what is none."""
    labels = {str(name): str(value) for name, value in told["labels"].items() if value}
    if not labels:
        raise ValueError("an alert needs labels")
    ends = _moment(told.get("endsAt")) or moment + resolve_timeout
    starts = _moment(told.get("startsAt")) or min(moment, ends)
    annotations = {str(name): str(value) for name, value in (told.get("annotations") or {}).items()}
    return Alert(labels, annotations, starts, ends, str(told.get("generatorURL") or ""))


def _moment(text: Any) -> float:
    """Unix seconds; 0 for none, which Go writes as the year 1."""
    if not text:
        return 0.0
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return max(0.0, found.timestamp())


class Alerts:
    """All alerts that are known; safe to use from several threads."""

    def __init__(self, inhibitions: Sequence[Inhibition]) -> None:
        self._inhibitions = inhibitions
        self._known: dict[Labels, Alert] = {}
        self._lock = threading.Lock()

    def put(self, alert: Alert) -> None:
        """Take note of it."""
        with self._lock:
            self._known[alert.key] = alert

    def active(self, moment: float) -> list[Alert]:
        """Those that are not over."""
        with self._lock:
            return [alert for alert in self._known.values() if not alert.resolved(moment)]

    def inhibited(self, alert: Alert, moment: float) -> bool:
        """Whether another alert that fires silences it."""
        return any(
            rule.target.fit(alert.labels) and any(self._silences(rule, other, alert) for other in self.active(moment))
            for rule in self._inhibitions
        )

    @staticmethod
    def _silences(rule: Inhibition, other: Alert, alert: Alert) -> bool:
        if not rule.source.fit(other.labels):
            return False
        if rule.source.fit(alert.labels) and rule.target.fit(other.labels):
            return False  # alerts that are both would silence themselves
        return all(other.labels.get(name, "") == alert.labels.get(name, "") for name in rule.equal)
