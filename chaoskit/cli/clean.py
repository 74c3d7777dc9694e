"""``chaoskit clean``: sweep what killed runs left behind."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("clean", help="end what killed runs left behind")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the runs (default: reports)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sweep and tell; 2 when there are no runs to look at."""
    from chaoskit.journal import sweep

    runs = (arguments.reports / "runs").resolve()
    if not runs.is_dir():
        print(f"no runs below {runs}: run this in the project's folder, or say --reports DIR", file=sys.stderr)
        return 2
    swept = sweep(runs)
    for text in swept:
        print(f"swept {text}")
    print(f"{len(swept)} things swept" if swept else f"nothing was left behind by the runs in {runs}")
    return 0
