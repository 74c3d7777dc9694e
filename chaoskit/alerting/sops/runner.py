"""Runs SOPs while a scenario does: incident → fault report → queue → steps → recorded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.alerting.sops.incident import Incident, Work
from chaoskit.alerting.sops.platform_call import PlatformCall
from chaoskit.alerting.sops.queue import Queue, Queued
from chaoskit.alerting.sops.reports import FaultReports
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.base.units import counted, format_duration
from chaoskit.history.rows import Alert, Row
from chaoskit.language.action import Action, ActionContext, Job
from chaoskit.language.severity import level_of
from chaoskit.language.sop import Endpoint, PlannedSop, PlannedStep

REPORTED = 2
"""The lowest severity (P2) whose incidents get a fault report though no SOP is for them."""
PATIENCE = 60.0
"""Seconds that the end of a scenario waits for a step that cannot be ended early."""

_log = logging.getLogger(__name__)


class SopRunner:
    """Decides, queues and runs. Alerts are told to :meth:`alert`, from any thread; one SOP runs at a time.

    Rows go to ``emit`` when a run has ended or was decided against. After :meth:`close` nothing is started any more.
    """

    def __init__(
        self,
        sops: Sequence[PlannedSop],
        context: ActionContext,
        queue: Queue,
        reports: FaultReports,
        emit: Callable[[Row], None],
        call_back: str = "",
    ) -> None:
        self.sops = sops
        self.context = context
        self.reports = reports
        self._queue = queue
        self._emit = emit
        self._call_back = call_back
        self._lock = threading.RLock()
        self._firing: dict[str, Incident] = {}
        self._incidents: list[Incident] = []
        self._works: dict[int, Work] = {}
        self._latest: dict[str, tuple[int, float]] = {}  # of each SOP: how many were queued, and when the last was
        self._jobs = 0
        self._active = 0
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaoskit-sops", daemon=True)
        self._closed = False
        self.error = ""

    def start(self) -> None:
        """Begin to take from the queue."""
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is queued or running, or not written down yet."""
        with self._lock:
            return self._active > 0

    def close(self) -> None:
        """End: what waits is not begun, and what runs is told to end. Raises BrokenError when that takes too long."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._cancelled.set()
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        for incident in self._incidents:
            for work in incident.works:
                self._record(work)
        self.complete()
        self._queue.end()
        if self._thread.is_alive():
            raise BrokenError(f"an SOP did not end within {format_duration(PATIENCE)} after the scenario had")

    def complete(self) -> None:
        """Write all fault reports again, with what is known by now."""
        with self._lock:
            incidents = list(self._incidents)
        for incident in incidents:
            if incident.works or _is_severe(incident.alert):
                self._report(incident)

    # Deciding

    def alert(self, alert: Alert) -> None:
        """Take note of a notification, and queue what it starts. Told in the sender's thread: quick."""
        if alert.refused or alert.state not in ("delivered", "resolved"):
            return
        with self._lock:
            if self._closed:
                return
            incident = self._firing.get(alert.fingerprint)
            if alert.state == "resolved":
                if incident is not None:
                    incident.resolved = alert.at
                    del self._firing[alert.fingerprint]
                return
            if incident is not None:
                incident.deliveries += 1  # the same incident, told again
                return
            incident = Incident(len(self._incidents) + 1, alert)
            self._incidents.append(incident)
            self._firing[alert.fingerprint] = incident
            try:
                for sop in self.sops:
                    if sop.model.on.names(alert.name, alert.labels):
                        self._decide(sop, incident)
            except BrokenError as error:  # nothing for the sender: the scenario is broken
                self.error = str(error)

    def _decide(self, sop: PlannedSop, incident: Incident) -> None:
        alert = incident.alert
        target = sop.target or alert.labels.get("service", "")
        work = Work(sop, incident, alert.at, sop.action_type, target)
        work.payload = self.payload(work)
        incident.works.append(work)
        work.detail = sop.model.on.too_low(alert.labels.get("severity", "")) or self._spent(sop, alert.at)
        if work.detail:
            work.outcome = "skipped"
            self._record(work)
            return
        count, _ = self._latest.get(sop.name, (0, 0.0))
        self._latest[sop.name] = (count + 1, alert.at)
        item = self._queue.put(sop, incident.id, alert, alert.at)
        self._active += 1
        self._works[item.number] = work

    def _spent(self, sop: PlannedSop, at: float) -> str:
        """Why it is not run again now; empty when it is."""
        if sop.name not in self._latest:
            return ""
        count, latest = self._latest[sop.name]
        if sop.model.times is not None and count >= sop.model.times:
            return f"at most {sop.model.times} in one scenario"
        left = latest + sop.model.cooldown - at
        return (
            f"cool-down: {format_duration(left)} of {format_duration(sop.model.cooldown)} are left" if left > 0 else ""
        )

    def payload(self, work: Work) -> dict[str, Any]:
        """What says all about a run: to an SOP platform, and in the history."""
        alert = work.incident.alert
        return {
            "incident": work.incident.id,
            "sop": work.sop.name,
            "action_type": work.action_type,
            "target_service": work.target,
            "priority": work.sop.model.priority,
            "severity": alert.labels.get("severity", ""),
            "alert": alert.name,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
        }

    # Running

    def _run(self) -> None:
        while (item := self._queue.take()) is not None:
            with self._lock:  # who queued it may still be at it
                work = self._works[item.number]
            try:
                self._execute(item, work)
            except Exception as error:
                # A mistake of ours must not look like an SOP that was never needed.
                _log.warning("SOP %s broke off", item.sop.name, exc_info=True)
                self.error = f"SOP {item.sop.name}: {type(error).__name__}: {error}"
                work.outcome, work.ended, work.detail = "failed", now(), self.error
                self._record(work)
            finally:
                with self._lock:
                    self._active -= 1

    def _execute(self, item: Queued, work: Work) -> None:
        self._report(work.incident)  # before anything is done about it
        work.payload |= {"trace_ids": work.incident.trace_ids, "report": work.incident.report}
        work.started, work.outcome = now(), "running"
        self._queue.note(item, "started", at=work.started)
        held = all(self._step(item, work, step) for step in self._steps(work))
        if not held and item.sop.escalation is not None:
            self._escalate(work, item.sop.escalation)
        work.ended, work.outcome = now(), "done" if held else "open" if self._cancelled.is_set() else "failed"
        self._queue.note(item, "ended", outcome=work.outcome, at=work.ended)
        self._record(work)
        self._report(work.incident)

    def _steps(self, work: Work) -> Sequence[PlannedStep]:
        model = work.sop.model
        if not isinstance(model, Endpoint):
            return work.sop.steps
        extra = {"callback": self._call_back, "actions": list(model.allow)} if self._call_back else {}
        work.payload |= extra
        action = PlatformCall(
            request=model.endpoint, headers=model.headers, timeout=model.timeout, payload=work.payload,
            service=model.service,
        )  # fmt: skip
        return [PlannedStep("call", action, work.sop.base)]

    def _step(self, item: Queued, work: Work, step: PlannedStep) -> bool:
        """One step with its attempts; whether it was done."""
        retry, began, detail, attempt = work.sop.model.retry, now(), "", 0
        done = False
        while not done and attempt < retry.attempts and not self._cancelled.is_set():
            attempt += 1
            if attempt > 1 and self._cancelled.wait(retry.gap(attempt - 1)):
                attempt -= 1
                break
            try:
                detail, done = self.perform(step.action, work), True
            except ChaosError as error:
                detail = str(error)
                self._queue.note(item, "failed", action=step.kind, attempt=attempt, error=detail)
        work.attempts = max(work.attempts, attempt)
        work.steps.append(_told(step, began, "done" if done else "failed", attempt, detail))
        work.detail = detail if done else f"{step.kind} failed {counted(attempt, 'times')}: {detail}"
        return done

    def _escalate(self, work: Work, step: PlannedStep) -> None:
        work.escalated = str(getattr(step.action, "to", ""))
        began, failed = now(), work.detail
        try:
            detail, done = self.perform(step.action, work), True
        except ChaosError as error:
            detail, done = str(error), False
            work.detail = f"{failed}; escalating failed: {detail}"
        work.steps.append(_told(step, began, "done" if done else "failed", 1, detail))

    def perform(self, action: Action, work: Work) -> str:
        """Do one action, once. Raises ChaosError when it failed, whatever it was."""
        with self._lock:
            self._jobs += 1
            number = f"{work.incident.number}-{self._jobs}"
        job = Job(self.context, work.names(), work.sop.folder, number, self._cancelled)
        try:
            return action.execute(job)
        except (OSError, ValueError, TypeError, KeyError) as error:  # a plug-in's mistake, or what an alert made of it
            raise BrokenError(f"{type(error).__name__}: {error}") from error

    # For calls of a platform

    def incident(self, id: str) -> Incident | None:
        """The incident of this id, unless the scenario has ended."""
        with self._lock:
            return None if self._closed else next((found for found in self._incidents if found.id == id), None)

    def begun(self, work: Work) -> bool:
        """Take note of what is done for a platform. False when the scenario has ended: then it must not be done."""
        with self._lock:
            if not self._closed:
                work.incident.works.append(work)
            return not self._closed

    def finished(self, work: Work) -> None:
        """Record what was done for a platform."""
        self._record(work)
        self._report(work.incident)

    # Reports

    def _record(self, work: Work) -> None:
        """Write a run to the history as it stands, once: the scenario may end while an action is still at work."""
        with self._lock:
            recorded, work.recorded = work.recorded, True
        if not recorded:
            self._emit(work.row())

    def _report(self, incident: Incident) -> None:
        try:
            self.reports.write(incident)
        except OSError as error:
            self.error = f"the fault report of {incident.alert.name} could not be written: {error}"


def _is_severe(alert: Alert) -> bool:
    level = level_of(alert.labels.get("severity", ""))
    return level is not None and level <= REPORTED


def _told(step: PlannedStep, began: float, outcome: str, attempts: int, detail: str) -> dict[str, Any]:
    return {
        "action": step.kind, "target": step.action.target, "outcome": outcome, "attempts": attempts,
        "started": began, "ended": now(), "detail": detail,
    }  # fmt: skip
