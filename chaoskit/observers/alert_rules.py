"""Asks Prometheus (or the embedded evaluator, whose API is the same) which alerts are pending and firing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now
from chaoskit.base.http_calls import Connection
from chaoskit.history.alerts import RULES, fingerprint, unix_time
from chaoskit.history.rows import Alert, Rules
from chaoskit.observers.base import Emit, Observer

LOOK_AT_RULES = 1.0
"""Seconds between two looks at the rules themselves."""


class AlertRules(Observer):
    """Emits a row for each change: an alert that became pending, firing, or inactive again.

    The first look tells all that is active already. Once a second a row :class:`Rules` says which rules are
    evaluated. ``limit`` is how long one question may wait for its answer, in seconds.
    """

    def __init__(
        self, service: str, url: str, emit: Emit, radius: BlastRadius, interval: float = 0.1, limit: float = 1.0
    ) -> None:
        super().__init__(emit, interval, f"alert-rules-{service}")
        parts = urlsplit(url)
        self._base = parts.path.rstrip("/")
        self._connection = Connection(parts.hostname or "", parts.port, limit, radius)
        self._active: dict[str, Alert] = {}
        self._next = 0.0

    def observe(self) -> None:
        """Look once. Raises OSError, HTTPException, ValueError or LookupError."""
        try:
            self._look_at_alerts()
            if now() >= self._next:
                self._next = now() + LOOK_AT_RULES
                self._look_at_rules()
        except Exception as error:
            self._connection.close()  # it connects anew for the next look
            if now() >= self._next:
                self._next = now() + LOOK_AT_RULES
                self.emit(Rules(at=now(), error=f"{type(error).__name__}: {error}"))
            raise

    def stop(self) -> None:
        """End and close the connection."""
        super().stop()
        self._connection.close()

    def _look_at_alerts(self) -> None:
        found = self._ask("/api/v1/alerts")["alerts"]
        moment = now()
        active = {row.fingerprint: row for row in (_row(alert, moment) for alert in found) if row is not None}
        for key, before in self._active.items():
            if key not in active:
                self.emit(_now_inactive(before, moment))
        for key, row in active.items():
            known = self._active.get(key)
            # A life that ended and began anew between two looks is told by the moment at which it began.
            if known is not None and known.starts_at != row.starts_at:
                self.emit(_now_inactive(known, moment))
                known = None
            if known is None or known.state != row.state:
                self.emit(row)
        self._active = active

    def _look_at_rules(self) -> None:
        groups = self._ask("/api/v1/rules?type=alert")["groups"]
        wall_minus_monotonic = time.time() - now()
        evaluated, waits = dict[str, float](), dict[str, float]()
        queries, failing = dict[str, str](), dict[str, str]()
        for rule in (rule for group in groups for rule in group["rules"] if rule.get("type", "alerting") == "alerting"):
            name = rule["name"]
            queries[name] = " or ".join(filter(None, (queries.get(name), rule.get("query"))))
            waits[name] = max(waits.get(name, 0.0), float(rule.get("duration") or 0.0))
            if rule.get("lastError"):
                failing[name] = rule["lastError"]
            last = unix_time(rule.get("lastEvaluation", ""))
            if last is not None and last > 0:
                evaluated[name] = max(evaluated.get(name, 0.0), last - wall_minus_monotonic)
        self.emit(Rules(at=now(), evaluated=evaluated, queries=queries, waits=waits, failing=failing))

    def _ask(self, path: str) -> Any:
        self._connection.request("GET", self._base + path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"GET {path}: status {answer.status}")
        return json.loads(body)["data"]


def _row(alert: Mapping[str, Any], moment: float) -> Alert | None:
    labels = alert["labels"]
    if alert["state"] not in ("pending", "firing"):
        return None
    return Alert(
        name=labels["alertname"],
        state=alert["state"],
        at=moment,
        source=RULES,
        fingerprint=fingerprint(labels),
        labels=labels,
        annotations=alert.get("annotations") or {},
        starts_at=alert.get("activeAt", ""),
    )


def _now_inactive(row: Alert, moment: float) -> Alert:
    return Alert(
        name=row.name,
        state="inactive",
        at=moment,
        source=RULES,
        fingerprint=row.fingerprint,
        labels=row.labels,
        annotations=row.annotations,
        starts_at=row.starts_at,
    )
