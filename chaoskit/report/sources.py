"""The file of a finished scenario: what its recorded copy says, and where the original lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoskit.base.errors import InputError
from chaoskit.history.files import read_kept
from chaoskit.language import source

COPY = "scenario.chaos.yaml"
"""The copy's name in the scenario's folder."""

_TEXTS = ("scenario", "case", "severity", "owner", "tags", "links", "description")
"""Keys that change neither what is run nor what is expected of it."""


def data(folder: Path) -> Mapping[str, Any] | None:
    """What the copy in a scenario's ``folder`` says; None where there is none that can be read."""
    try:
        found = source.read(folder / COPY, read_kept(folder, COPY).decode()).data
    except (InputError, OSError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def place(folder: Path, file: str, nodeid: str) -> str:
    """The scenario's ``file`` as the terminal names it, for its lines: ``mine/slow.chaos.yaml``.

    It is relative to the working directory, or else as pytest's ``nodeid`` has it, where it was run on another machine:
    no file is read that does not lie below the working directory.
    Empty where no file is recorded, or where it was changed since: only the copy has the lines then.
    """
    if not file:
        return ""
    shown, named = str(source.shown(Path(file))), nodeid.partition("::")[0]
    try:
        original = read_kept(Path.cwd(), shown)
    except OSError:
        return named or Path(file).name
    try:
        return shown if original == read_kept(folder, COPY) else ""
    except OSError:
        return ""


def differing(before: Path | None, after: Path | None, *, control: bool) -> list[str] | None:
    """The keys by which the copies in two folders differ: what was run, or what was expected of it.

    Comments, layout and texts do not count, nor does the control unless it was what was run. None where there is
    nothing to compare.
    """
    old, new = (data(folder) if folder is not None else None for folder in (before, after))
    if old is None or new is None:
        return None
    left_out = _TEXTS if control else (*_TEXTS, "control")
    return [key for key in {**old, **new} if key not in left_out and old.get(key) != new.get(key)]
