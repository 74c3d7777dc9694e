"""Writes the fault report of each incident, and writes it again when more is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chaoskit.alerting import report_facts as facts
from chaoskit.alerting.fault_report import EMBEDDED, FOLDER, FORMAT, FaultReport, Fired
from chaoskit.alerting.report_metrics import metrics
from chaoskit.alerting.report_text import markdown
from chaoskit.alerting.sops.incident import Incident
from chaoskit.base.clock import now
from chaoskit.base.mask import mask, mask_values
from chaoskit.history.files import make_folder, write_kept
from chaoskit.history.store import History


class FaultReports:
    """The reports of one scenario, as ``fault-reports/NUMBER-ALERT.json`` and ``.md`` in its ``folder``.

    ``planned`` is set once the timeline has its moments. ``servers`` are the environment's own servers of alerting, as
    they call themselves (``prometheus 2.42.0``, ``embedded``). Safe to use from several threads.
    """

    def __init__(
        self, folder: Path, history: History, *, scenario: str, environment: str, servers: Sequence[str] = ()
    ) -> None:
        self.planned: Sequence[facts.Planned] = ()
        self._folder = folder
        self._history = history
        self._scenario = scenario
        self._environment = environment
        self._servers = servers
        self._offset = time.time() - now()

    def write(self, incident: Incident) -> str:
        """Write the report as things stand, over an earlier one; gives its file, relative to the folder."""
        with incident.lock:
            name = f"{FOLDER}/{incident.number}-{incident.slug}.json"
            report = self._report(incident)
            file = self._folder / name
            make_folder(file.parent)
            write_kept(file, msgspec.json.format(msgspec.json.encode(report), indent=1))
            write_kept(file.with_suffix(".md"), markdown(report).encode())
            incident.report, incident.trace_ids = name, report.trace_ids
            return name

    def _report(self, incident: Incident) -> FaultReport:
        history, alert, clock = self._history, incident.alert, self._clock
        # What the SOP did belongs to it too: the logs end where it has ended, the failures where it began to act.
        until = max([alert.at, *(work.ended or now() for work in incident.works)])
        struck = min((work.started for work in incident.works if work.started is not None), default=now())
        rows = facts.recent(history, until)
        traces = facts.traces_in(rows)
        failed = facts.failures(history, self.planned, traces, max(alert.at, struck), clock)
        ids = facts.trace_ids(failed, traces)
        first = min((plan.start for plan in self.planned), default=None)
        measured, omitted = metrics(history, alert.name, incident.service, first, until, clock)
        works = list(incident.works)
        did = [
            (moment, f"SOP {work.sop.name} {what}")
            for work in works
            for moment, what in ((work.queued, "queued"), (work.started, "started"), (work.ended, work.outcome))
            if moment is not None and work.outcome != "skipped"
        ]
        return FaultReport(
            format=FORMAT,
            incident=incident.id,
            time=clock(alert.at),
            written=clock(now()),
            scenario=self._scenario,
            environment=self._environment,
            service=mask(incident.service),
            severity=mask(alert.labels.get("severity", "")),
            summary=mask(alert.annotations.get("summary") or alert.annotations.get("description") or alert.name),
            alert=Fired(
                name=mask(alert.name), severity=mask(alert.labels.get("severity", "")), fingerprint=alert.fingerprint,
                source=alert.source, served_by=self._served_by(alert.source), delivered=clock(alert.at),
                starts_at=mask(alert.starts_at),
                resolved=clock(incident.resolved) if incident.resolved is not None else None,
                deliveries=incident.deliveries, labels=mask_values(alert.labels),
                annotations=mask_values(alert.annotations),
            ),
            trace_ids=ids,
            failures=failed,
            logs=facts.logs(rows, traces, ids, clock),
            metrics=measured,
            metrics_omitted=omitted,
            faults=facts.faults(history, self.planned, now(), clock),
            timeline=facts.timeline(history, did, clock),
            sops=[work.part(clock) for work in works],
        )  # fmt: skip

    def _served_by(self, source: str) -> str:
        """What sent a notification in the form of ``source``."""
        if source == "application":
            return ""
        return next((server for server in self._servers if server == EMBEDDED or server.startswith(source)), "")

    def _clock(self, moment: float) -> str:
        told = datetime.fromtimestamp(moment + self._offset, UTC).isoformat(timespec="milliseconds")
        return told.replace("+00:00", "Z")
