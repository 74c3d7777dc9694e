"""Alerts, SOP runs and fault reports, where a scenario's folder holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaoskit.history.rows import Alert, SopRun
from chaoskit.mask import mask
from chaoskit.reporters.html.clean import clip
from chaoskit.reporters.html.rows import rows

MOST = 40
REPORT_LENGTH = 6000


@dataclass(frozen=True)
class FaultReport:
    """A fault report as it was written (Markdown), shortened if it is long."""

    name: str
    text: str


@dataclass(frozen=True)
class Incidents:
    """What alerting did. Each at most :data:`MOST`; the numbers of those left out are in ``left_out``."""

    alerts: list[Alert]
    sops: list[SopRun]
    reports: list[FaultReport]
    left_out: dict[str, int]


def of(folder: Path) -> Incidents:
    """The incidents of a scenario; empty lists where there were none."""
    alerts = list(rows(folder, Alert))
    sops = list(rows(folder, SopRun))
    files = sorted(folder.glob("fault-reports/*.md"))
    reports = [FaultReport(file.stem, clip(mask(_text(file)), REPORT_LENGTH)) for file in files[:MOST]]
    counts = {"alerts": len(alerts), "SOP runs": len(sops), "fault reports": len(files)}
    left_out = {name: count - MOST for name, count in counts.items() if count > MOST}
    return Incidents(alerts[:MOST], sops[:MOST], reports, left_out)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
