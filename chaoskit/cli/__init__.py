"""The ``chaoskit`` command. One file per subcommand: a function ``add(subparsers)`` and one that runs it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from chaoskit import __version__
from chaoskit.base.errors import ChaosError
from chaoskit.language.plugins import load_plugins, project_of

_SPEAKING = ("validate", "plan", "schema")
"""Commands to which the words of a project's own plug-ins mean something. ``judge`` is told whose: a recording may lie
in a folder that somebody else has made, and code that lies there is not run.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. 0: fine; 1: the answer is no (invalid, violated ...); 2: it could not be asked."""
    parser = argparse.ArgumentParser(prog="chaoskit", description="Fault-injection tests that judge what was observed")
    parser.add_argument("--version", action="version", version=f"chaoskit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}").add(commands)
    arguments = parser.parse_args(argv)
    out, err = cast(TextIO, _Plain(sys.stdout)), cast(TextIO, _Plain(sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if arguments.command in _SPEAKING:
                load_plugins(project_of(Path.cwd()))
            return int(arguments.run(arguments))
        except ChaosError as error:
            print(error, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 0


class _Plain:
    """A stream to which text of services and of report folders can be printed: a terminal obeys nothing in it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be seen of it."""
        from chaoskit.report.html.clean import clean

        return self._stream.write(text if text.isascii() and text.isprintable() else clean(text))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
