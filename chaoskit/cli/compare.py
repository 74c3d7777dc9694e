"""``chaoskit compare A B``: two runs side by side, as text, JSON or a figure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("compare", help="compare two runs, scenario by scenario")
    for name, text in (("before", "before"), ("after", "after")):
        parser.add_argument(
            name, metavar="RUN", help=f"the run {text}: an id (or its start), latest, previous, or a folder"
        )
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="DIR", help="as --chaos-reports")
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="[OPERATION=]LIMIT",
        help="show the share of requests over this limit (200ms, place-order=200ms; default: the scenario's own limit)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also draw it, into a .svg or .png")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when it could be compared, whatever changed: the gate is what blocks."""
    from chaoskit.base.errors import ChaosError
    from chaoskit.trend.compare import compare, lines
    from chaoskit.trend.history_db import FILE, selected

    limits = dict(_limit(text) for text in arguments.over)
    if arguments.figure is not None and arguments.figure.suffix not in (".svg", ".png"):
        raise ChaosError(f"--figure {arguments.figure}: the name must end in .svg or .png")
    before, after = (selected(arguments.reports / FILE, word) for word in (arguments.before, arguments.after))
    comparison = compare((before.name, before.recorded), (after.name, after.recorded), limits)
    if arguments.json:
        print(json.dumps(comparison.as_dict(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines(comparison)))
    if arguments.figure is not None:
        from chaoskit.trend.compare.figure import draw

        svg, png = draw(comparison)
        try:
            arguments.figure.parent.mkdir(parents=True, exist_ok=True)
            arguments.figure.write_bytes(svg if arguments.figure.suffix == ".svg" else png)
        except OSError as error:
            raise ChaosError(f"--figure {arguments.figure}: {error}") from None
    return 0


def _limit(text: str) -> tuple[str, float]:
    from chaoskit.base.errors import ChaosError
    from chaoskit.base.units import UnitError, parse_duration
    from chaoskit.trend.compare.changes import ALL

    op, equals, limit = text.rpartition("=")
    try:
        return (op if equals else ALL), parse_duration(limit)
    except UnitError as error:
        raise ChaosError(f"--over {text}: {error}") from None
