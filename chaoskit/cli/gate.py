"""``chaoskit gate``: whether a recorded run is good enough to go on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaoskit.trend.history_db.select import Selected

_STATUS = "exit status: 0 passed, 1 blocked, 2 bad input, 3 nothing to judge, 4 inconclusive"


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser(
        "gate", help="judge a run by its score, by severities, and against earlier runs", epilog=_STATUS
    )
    parser.add_argument(
        "runs", nargs="*", default=["latest"], metavar="RUN",
        help="an id (or its start), latest (the default) or previous; or folders of runs, several for one run with "
        "xdist",
    )  # fmt: skip
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="as --chaos-reports")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="YAML or TOML (default: [tool.chaoskit.gate] of pyproject.toml)"
    )
    parser.add_argument("--min-score", metavar="N", help="the lowest score that passes, 0 to 100")
    parser.add_argument("--block", metavar="LIST", help="severities of which none may fail: blocker,critical; or none")
    parser.add_argument(
        "--baseline", metavar="WHAT", help="'median of 5' (runs that passed), previous, a run's id, or off"
    )
    parser.add_argument(
        "--recovery", metavar="INCREASE", help="allowed against the baseline: 50%%, 2s, '50%% + 2s', off"
    )
    parser.add_argument("--p99", metavar="INCREASE", help="the same for the p99 of each operation under the faults")
    parser.add_argument("--score-drop", metavar="N", help="points that the score may lose against the baseline, or off")
    parser.add_argument("--unstable-runs", metavar="N", help="a scenario's own runs that are searched for flips")
    parser.add_argument(
        "--inconclusive", metavar="WHAT", help="what becomes of a scenario that stayed inconclusive: block or ignore"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="folder of gate.md, gate.json, gate.xml (default: --reports for the newest run, for an earlier one none)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 passed, 1 blocked, 3 nothing to judge, 4 inconclusive; bad input is a ChaosError, and so 2."""
    from chaoskit.trend.gate import Settings, ask, load_settings, text, write
    from chaoskit.trend.history_db import FILE, selected

    given = {name: value for name in Settings.model_fields if (value := getattr(arguments, name)) is not None}
    settings = load_settings(Path.cwd(), arguments.settings, given)
    history = arguments.reports / FILE
    found = [selected(history, word) for word in arguments.runs]
    entry = found[0].entry if len(found) == 1 else None
    recorded = [each for one in found for each in one.recorded]
    decision = ask(history, "+".join(one.name for one in found), recorded, settings, keep=entry is not None)
    for line in text(decision):
        print(line)
    newer = _newest(history, found) if arguments.output is None else ""
    if newer:
        print(f"  not written: {arguments.reports}/gate.* are of the newest run, {newer}; --output DIR writes these")
    else:
        files = write(decision, arguments.output or arguments.reports)
        print(f"  written: {', '.join(map(str, files))}")
    return decision.status


def _newest(history: Path, asked: Sequence[Selected]) -> str:
    """The newest run's id where the runs that were asked for are of an earlier one, else empty."""
    from chaoskit.trend.history_db import Database

    if not history.exists():
        return ""
    with Database(history) as database:
        entries = database.runs()
    names = {one.name for one in asked}
    earlier = any(names & {entry.id, *(folder.name for folder in entry.folders)} for entry in entries[1:])
    return entries[0].id if earlier else ""
