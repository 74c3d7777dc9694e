"""Alerts, SOP runs and fault reports, where a scenario's folder holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaoskit.history.rows import Alert, SopRun
from chaoskit.mask import mask
from chaoskit.reporters.html.rows import rows

MOST = 40
"""Rows that are shown."""

REPORTS = 3
"""Fault reports that are shown, each with its first :data:`REPORT_LENGTH` characters."""

REPORT_LENGTH = 2500


@dataclass(frozen=True)
class FaultReport:
    """A fault report and the beginning of it as it was written (Markdown); no text for all but the first few."""

    file: Path
    text: str


@dataclass(frozen=True)
class Incidents:
    """What alerting did; how many alerts and SOP runs are not shown is in ``left_out``."""

    alerts: list[Alert]
    sops: list[SopRun]
    reports: list[FaultReport]
    left_out: dict[str, int]


def of(folder: Path) -> Incidents:
    """The incidents of a scenario; empty lists where there were none."""
    alerts = list(rows(folder, Alert))
    sops = list(rows(folder, SopRun))
    files = sorted(folder.glob("fault-reports/*.md"))
    reports = [FaultReport(file, _beginning(file) if number < REPORTS else "") for number, file in enumerate(files)]
    counts = {"steps of alerts": len(alerts), "SOP runs": len(sops)}
    left_out = {name: count - MOST for name, count in counts.items() if count > MOST}
    return Incidents(alerts[:MOST], sops[:MOST], reports, left_out)


def _beginning(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as text:
        head = mask(text.read(2 * REPORT_LENGTH))  # more than is shown: a secret must not be cut in two
    return head if len(head) <= REPORT_LENGTH else head[:REPORT_LENGTH] + " …"
