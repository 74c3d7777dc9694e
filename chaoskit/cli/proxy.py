"""``chaoskit proxy``: the embedded Toxiproxy server on its own, with the original's flags."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any


def add(commands: Any) -> None:
    """All further arguments are the server's own."""
    parser = commands.add_parser("proxy", help="run the embedded Toxiproxy server", add_help=False, prefix_chars="\0")
    parser.add_argument("flags", nargs="*")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Become the server."""
    os.execv(sys.executable, [sys.executable, "-m", "chaoskit.toxiproxy.server", *arguments.flags])  # noqa: S606
