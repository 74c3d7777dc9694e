"""``chaoskit validate PATH...``: every mistake of every scenario file, without running anything."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("validate", help="check scenario files without running them")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("scenarios")], metavar="PATH")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all files are right, 1 when one has a mistake or there is none."""
    from chaoskit.errors import InputError
    from chaoskit.scenario.loader import find, load

    mistakes, files, scenarios = 0, 0, 0
    for file in find(arguments.paths):
        files += 1
        try:
            scenarios += len(load(file))
        except InputError as error:
            mistakes += len(error.problems)
            print(error)
    if not files:
        print(f"no *.chaos.yaml below {', '.join(map(str, arguments.paths))}", file=sys.stderr)
        return 1
    print(f"{files} files, {scenarios} scenarios, {mistakes} mistakes")
    return 1 if mistakes else 0
