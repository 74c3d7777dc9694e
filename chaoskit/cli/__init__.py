"""The ``chaoskit`` command. One file per subcommand: a function ``add(subparsers)`` and one that runs it."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

from chaoskit import __version__
from chaoskit.errors import ChaosError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. 0: fine; 1: the answer is no (invalid, violated ...); 2: it could not be asked."""
    parser = argparse.ArgumentParser(prog="chaoskit", description="Fault-injection tests that judge what was observed")
    parser.add_argument("--version", action="version", version=f"chaoskit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").add(commands)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ChaosError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
