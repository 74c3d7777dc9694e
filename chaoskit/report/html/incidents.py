"""Alerts, SOP runs and fault reports, where a scenario's folder holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from chaoskit.alerting.fault_report import FOLDER, FaultReport, decode
from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask_values
from chaoskit.history.files import files_in, read_kept
from chaoskit.history.rows import Alert, SopRun
from chaoskit.report.html.rows import rows

T = TypeVar("T", bound=msgspec.Struct)

MOST = 40
"""Rows that are shown."""

REPORTS = 3
"""Fault reports that are shown; there are links to the others."""


@dataclass
class ReportFile:
    """A fault report's file, and the same as ``text`` (Markdown) if that is there.

    ``report`` is None where the page only links to it, and where it cannot be read: then ``problem`` says why.
    """

    file: Path
    text: Path | None
    report: FaultReport | None = None
    problem: str = ""


@dataclass(frozen=True)
class Incidents:
    """What alerting did; how many alerts and SOP runs are not shown is in ``left_out``."""

    alerts: list[Alert]
    sops: list[SopRun]
    reports: list[ReportFile]
    left_out: dict[str, int]


def of(folder: Path) -> Incidents:
    """The incidents of a scenario; empty lists where there were none."""
    alerts = list(rows(folder, Alert))
    sops = list(rows(folder, SopRun))
    files = sorted(files_in(folder / FOLDER, "*.json"), key=_number)
    reports = [_read(file, shown=index < REPORTS) for index, file in enumerate(files)]
    counts = {"alert steps": len(alerts), "SOP runs": len(sops)}
    left_out = {name: count - MOST for name, count in counts.items() if count > MOST}
    return Incidents([*map(_masked, alerts[:MOST])], [*map(_masked, sops[:MOST])], reports, left_out)


def _number(file: Path) -> tuple[int, str]:
    """Of the incident, which the file's name begins with: 2 comes before 10."""
    digits = re.match(r"\d{1,9}", file.name)
    return int(digits[0]) if digits else 0, file.name


def _read(file: Path, *, shown: bool) -> ReportFile:
    beside = file.with_suffix(".md")
    text = beside if beside.exists() else None
    if not shown:
        return ReportFile(file, text)
    try:
        report = decode(read_kept(file.parent.parent, f"{FOLDER}/{file.name}"))
    except (BrokenError, OSError) as error:
        return ReportFile(file, text, problem=str(error))
    return ReportFile(file, text, _masked(report))


def _masked(told: T) -> T:
    """Masked when it was written; whatever has happened to the file since, no secret gets onto the page."""
    return msgspec.convert(mask_values(msgspec.to_builtins(told)), type(told))
