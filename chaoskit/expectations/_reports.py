"""Whether fault reports are valid and complete. They are read once, when the run is at its end, into a row."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from chaoskit.alerting.fault_report import FOLDER, FaultReport, decode
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.history import rows as r
from chaoskit.history.files import files_in, read_kept
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

NAME = "fault-reports"
"""Of the row. Each of its rows is a report: file, incident, and what is wrong with it."""


def read(folder: Path) -> r.Read:
    """What the reports in a scenario's folder say."""
    files = files_in(folder / FOLDER, "*.json")
    return r.Read(name=NAME, at=now(), rows=[_facts(file) for file in files])


def _facts(file: Path) -> list[Any]:
    try:
        report = decode(read_kept(file.parent.parent, f"{FOLDER}/{file.name}"))
    except (BrokenError, OSError) as error:
        return [file.name, "", [str(error)]]
    return [file.name, report.incident, list(_missing(report, file))]


def _missing(report: FaultReport, file: Path) -> Iterator[str]:
    logged = "\n".join(line.line for line in report.logs.lines)
    wanted = {
        "a service": report.service,
        "a severity": report.severity,
        "log lines": report.logs.lines,
        "a trace id": report.trace_ids,
        "a trace id that stands in its logs": any(trace in logged for trace in report.trace_ids),
        "metrics": report.metrics,
        "the fault": report.faults,
        "what the SOP did": any(sop.ended for sop in report.sops),
        "the report as Markdown": file.with_suffix(".md").exists(),
    }
    yield from (name for name, there in wanted.items() if not there)


def judge(view: View, id: str, path: tuple[str, ...], incidents: Collection[str]) -> Iterator[Finding]:
    """One finding: each incident has its report, and nothing is missing in it."""
    expected = "a fault report of each incident, valid and complete"
    found = {row[1]: row for read in view.history.rows(r.Read) if read.name == NAME for row in read.rows}
    unreadable = [f"{row[0]}: {row[2][0]}" for row in found.values() if not row[1]]
    wrong = [f"no report of {incident}" for incident in sorted(incidents) if incident not in found]
    wrong += [
        f"{found[incident][0]} lacks {', '.join(found[incident][2])}"
        for incident in sorted(incidents)
        if incident in found and found[incident][2]
    ]
    told = tuple(unreadable + wrong)
    outcome = Outcome.VIOLATED if told else Outcome.HELD
    seen = told[0] if told else f"{len(incidents)} of {len(incidents)}"
    yield Finding(id, outcome, expected, seen, len(incidents), path, rows=told)
