"""``chaoskit clean``: sweep what killed runs left behind."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The subcommand's arguments."""
    parser = commands.add_parser("clean", help="end what killed runs left behind")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the runs (default: reports)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sweep and tell."""
    from chaoskit.journal import sweep

    swept = sweep(arguments.reports / "runs")
    for text in swept:
        print(f"swept {text}")
    print(f"{len(swept)} things swept" if swept else "nothing was left behind")
    return 0
