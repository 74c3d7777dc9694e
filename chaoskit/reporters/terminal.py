"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chaoskit.units import format_duration


def table(summaries: Sequence[dict[str, Any]], reports: Path, swept: Sequence[str]) -> Iterator[str]:
    """Lines: every scenario with verdict, recovery, evidence and worst finding; then where the reports lie."""
    rows = [("scenario", "verdict", "recovery", "evidence", "worst finding")]
    for summary in sorted(summaries, key=lambda summary: summary["nodeid"]):
        recovery = summary["recovery"]
        rows.append(
            (
                summary["nodeid"].rpartition("::")[2],
                summary["outcome"],
                "-" if recovery is None else format_duration(recovery),
                ", ".join(summary["evidence"]) or "-",
                "" if summary["passed"] and not summary["control"] else summary["worst"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    held = sum(summary["outcome"] == "held" for summary in summaries)
    caught = sum(summary["outcome"] == "caught" for summary in summaries)
    scenarios = sum(not summary["control"] for summary in summaries)
    controls = len(summaries) - scenarios
    line = f"{held} of {scenarios} scenarios held"
    if controls:
        line += f", {caught} of {controls} controls caught"
    yield ""
    yield f"{line}; {sum(summary['requests'] for summary in summaries)} requests"
    failed = [summary for summary in summaries if not summary["passed"]]
    if failed:
        controls_flag = " --chaos-controls" if failed[0]["control"] else ""
        yield f"run one again: pytest --chaos{controls_flag} --chaos-seed {failed[0]['seed']} '{failed[0]['nodeid']}'"
    runs = sorted({str(Path(summary["folder"]).parent) for summary in summaries})
    yield f"histories: {', '.join(runs)}   Allure results: {reports / 'allure-results'}"
    for text in swept:
        yield f"swept from an earlier run: {text}"
