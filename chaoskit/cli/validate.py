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
    parser.add_argument(
        "--allow", action="append", default=[], metavar="HOST", help="a host beyond loopback that scenarios may touch"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all files are right, 1 when one has a mistake or there is none."""
    from chaoskit.errors import InputError
    from chaoskit.scenario.loader import find, load
    from chaoskit.scenario.reach import outside, refuse_outside

    files, scenarios, bad = 0, 0, 0
    told: dict[str, None] = {}
    for file in find(arguments.paths):
        files += 1
        try:
            loaded = load(file)
            scenarios += len(loaded)
            refuse_outside(found for scenario in loaded for found in outside(scenario, arguments.allow))
        except InputError as error:
            # What is wrong with an environment is told once, and not for each scenario that names it.
            new = dict.fromkeys(text for problem in error.problems if (text := str(problem)) not in told)
            told.update(new)
            bad += 1
            print(*new, sep="\n", end="\n" if new else "")
    if not files:
        print(f"no *.chaos.yaml below {', '.join(map(str, arguments.paths))}", file=sys.stderr)
        return 1
    print(f"{files} files, {scenarios} scenarios, {len(told)} mistakes")
    return 1 if bad else 0
