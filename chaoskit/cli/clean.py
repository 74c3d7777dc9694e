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
    """Sweep and tell; 2 when there was nothing to look at: it was probably asked in the wrong folder."""
    from chaoskit.alerting.sops.queue import sweep_queues
    from chaoskit.system.sweep import sweep

    runs = (arguments.reports / "runs").resolve()
    swept = [*sweep(), *sweep_queues(runs)]
    for text in swept:
        print(f"swept {text}")
    if swept:
        print(f"{len(swept)} things swept")
    elif runs.is_dir():
        print(f"nothing was left behind by the runs in {runs}")
    else:
        print(f"no runs below {runs}: run this in the project's folder, or say --reports DIR", file=sys.stderr)
        return 2
    return 0
