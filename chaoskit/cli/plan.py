"""``chaoskit plan FILE``: the timeline and everything a scenario will touch, without touching it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("plan", help="print what a scenario will do, and to what")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plans."""
    from chaoskit.engine.plan import describe, plan
    from chaoskit.scenario.loader import find, load

    for file in find(arguments.paths):
        for scenario in load(file):
            print("\n".join(describe(plan(scenario))))
    return 0
