"""``chaoskit history``: the runs that are kept, newest first; or how one scenario fared in them."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaoskit.trend.history_db import Database, Entry

_OUTCOMES = ("held", "violated", "vacuous", "inconclusive", "broken", "caught", "not caught", "invalid", "skipped")


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("history", help="list the runs that are kept in reports/history.db")
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="as --chaos-reports")
    parser.add_argument("--limit", type=_number, default=20, metavar="N", help="the newest N runs (default: 20)")
    parser.add_argument("--scenario", metavar="NAME", help="one scenario in each run, by its name in the table")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs (1, 2, ...)")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """0; 2 where there is no history or no such scenario."""
    from chaoskit.trend.history_db import FILE, Database

    with Database(arguments.reports / FILE, create=False) as database:
        entries = database.runs(arguments.limit)
        if arguments.scenario:
            rows = _of_scenario(database, entries, arguments.scenario)
        else:
            rows = [_row(entry) for entry in entries]
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print("\n".join(_scenario_table(rows) if arguments.scenario else _table(rows)))
    return 0


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "started": datetime.fromtimestamp(entry.started).astimezone().isoformat(timespec="seconds"),
        "wall": entry.wall,
        "score": entry.score,
        "gate": entry.gate or None,
        "commit": entry.revision.commit or None,
        "branch": entry.revision.branch or None,
        "url": entry.revision.url or None,
        "outcomes": {outcome: entry.counts.get(outcome, 0) for outcome in _OUTCOMES},
        "folders": [str(folder) for folder in entry.folders],
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    from chaoskit.report.score import told

    shown = [outcome for outcome in _OUTCOMES if any(row["outcomes"][outcome] for row in rows)]
    head = ["run", "started", "score", "gate", *shown, "commit", "branch"]
    body = [
        [
            row["id"],
            row["started"].replace("T", " "),
            told(row["score"]),
            row["gate"] or "-",
            *(str(row["outcomes"][outcome]) for outcome in shown),
            (row["commit"] or "-")[:10],
            row["branch"] or "-",
        ]
        for row in rows
    ]
    return _aligned([head, *body])


def _of_scenario(database: Database, entries: list[Entry], name: str) -> list[dict[str, Any]]:
    from chaoskit.base.errors import ChaosError, unknown

    names: set[str] = set()
    rows = []
    for entry in entries:
        for each in database.scenarios(entry.id):
            names |= {each.name, each.key}
            if name in (each.name, each.key):
                figures = {
                    op: {"success": seen.success, "p50": seen.p50, "p99": seen.p99, "fallback": seen.fallback}
                    for op, seen in each.operations.items()
                }
                row: dict[str, Any] = {"id": entry.id, "started": each.started, "commit": entry.revision.commit or None}
                row |= {"outcome": each.outcome, "recovery": each.recovery, "operations": figures}
                rows.append({**row, "reason": each.reason})
    if not rows:
        raise ChaosError(unknown("scenario", name, {name for name in names if "::" not in name}))
    return rows


def _scenario_table(rows: list[dict[str, Any]]) -> list[str]:
    from chaoskit.base.units import format_duration, format_ratio

    def told(op: str, figures: dict[str, float | None]) -> str:
        success, p99 = figures["success"], figures["p99"]
        words = [op]
        words += [format_ratio(success)] if success is not None else []
        words += [f"p99 {format_duration(p99)}"] if p99 is not None else []
        return " ".join(words)

    body = [
        [
            row["id"],
            row["outcome"],
            "-" if row["recovery"] is None else format_duration(row["recovery"]),
            ", ".join(told(op, figures) for op, figures in row["operations"].items()) or "-",
            (row["commit"] or "-")[:10],
        ]
        for row in rows
    ]
    return _aligned([["run", "outcome", "recovery", "under the faults", "commit"], *body])


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
