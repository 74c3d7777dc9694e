"""One life of an alert, and what SOPs did about it."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from chaoskit.alerting.fault_report import Procedure, Step
from chaoskit.alerting.report_facts import Clock
from chaoskit.base.mask import mask, mask_values
from chaoskit.history.rows import Alert, SopRun
from chaoskit.language.sop import Endpoint, PlannedSop

OWN = "chaoskit"
Outcome = Literal["queued", "running", "done", "failed", "skipped", "open"]


@dataclass
class Work:
    """One run of an SOP (or one action that a platform called back), from being queued to its end.

    Moments are monotonic seconds; ``recorded`` is set once its row is in the history.
    """

    sop: PlannedSop
    incident: Incident
    queued: float
    action_type: str
    target: str
    outcome: Outcome = "queued"
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    escalated: str = ""
    detail: str = ""
    called_back: bool = False
    recorded: bool = False
    payload: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def runner(self) -> str:
        """Who runs it."""
        model = self.sop.model
        return model.endpoint.partition(" ")[2].strip() if isinstance(model, Endpoint) else OWN

    def names(self) -> dict[str, Any]:
        """What templates of a step may ask for."""
        alert = self.incident.alert
        return {
            "incident": self.incident.id,
            "sop": self.sop.name,
            "alert": {
                "name": alert.name,
                "severity": alert.labels.get("severity", ""),
                "fingerprint": alert.fingerprint,
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
            },
        }

    def row(self) -> SopRun:
        """For the history: what has not ended is ``open`` there."""
        alert = self.incident.alert
        outcome: Any = "open" if self.outcome in ("queued", "running") else self.outcome
        return SopRun(
            sop=self.sop.name, alert=alert.name, fingerprint=alert.fingerprint, incident=self.incident.id,
            severity=alert.labels.get("severity", ""), action_type=self.action_type, target_service=self.target,
            priority=self.sop.model.priority, queued=self.queued, started=self.started, ended=self.ended,
            outcome=outcome, attempts=self.attempts, escalated=self.escalated, detail=mask(self.detail),
            runner=mask(self.runner), called_back=self.called_back, payload=mask_values(self.payload),
            steps=mask_values(self.steps), report=self.incident.report,
        )  # fmt: skip

    def part(self, clock: Clock) -> Procedure:
        """For the fault report."""
        row = self.row()
        steps = [
            Step(**{**step, "started": clock(step["started"]), "ended": clock(step["ended"])}) for step in row.steps
        ]
        return Procedure(
            sop=row.sop, action_type=row.action_type, target_service=row.target_service, priority=row.priority,
            runner=row.runner, outcome=self.outcome, queued=clock(row.queued),
            started=clock(row.started) if row.started is not None else None,
            ended=clock(row.ended) if row.ended is not None else None,
            attempts=row.attempts, escalated=row.escalated, detail=row.detail, steps=steps,
        )  # fmt: skip


@dataclass
class Incident:
    """From the first notification of an alert to the one that it is resolved. ``id`` cannot be guessed.

    ``report`` is its fault report's file once that was written, relative to the scenario's folder, ``trace_ids`` are
    those that it names; ``lock`` is held while it is being written.
    """

    number: int
    alert: Alert
    deliveries: int = 1
    resolved: float | None = None
    works: list[Work] = field(default_factory=list)
    report: str = ""
    trace_ids: list[str] = field(default_factory=list)
    id: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.id = f"{self.slug}-{secrets.token_hex(6)}"

    @property
    def slug(self) -> str:
        """The alert's name as part of a file's name, whatever its sender chose."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.alert.name)[:60].strip("-") or "alert"

    @property
    def service(self) -> str:
        """The service that it is about, as far as the alert or an SOP tells."""
        named = next((work.target for work in self.works if work.target), "")
        return self.alert.labels.get("service") or named or self.alert.labels.get("job", "")
