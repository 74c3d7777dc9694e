"""What a person calls a run: its id (or the start of it), ``latest``, ``previous``, or a folder. For all commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.errors import ChaosError, nearest
from chaoskit.reporters.history_db.store import Database, Entry
from chaoskit.reporters.runs import Recorded, read_run

LATEST, PREVIOUS = "latest", "previous"


@dataclass(frozen=True)
class Selected:
    """A run that was asked for: what it is called, what was recorded, and its entry if it came from the history."""

    name: str
    recorded: Sequence[Recorded]
    entry: Entry | None = None


def select(database: Database, word: str) -> Entry:
    """The run with this id, or the only one whose id begins so. Raises ChaosError with what was probably meant."""
    runs = database.runs()
    if not runs:
        raise ChaosError(f"no run in {database.file} yet")
    if word in (LATEST, PREVIOUS):
        index = (LATEST, PREVIOUS).index(word)
        if index >= len(runs):
            raise ChaosError(f"no previous run: {database.file} holds one run, {runs[0].id}")
        return runs[index]
    found = [entry for entry in runs if entry.id == word] or [entry for entry in runs if entry.id.startswith(word)]
    if len(found) == 1:
        return found[0]
    ids = [entry.id for entry in runs]
    if found:
        raise ChaosError(f"{word!r} may be any of {', '.join(entry.id for entry in found[:5])}: give more of the id")
    near = nearest(word, [LATEST, PREVIOUS, *ids])
    newest = ", ".join(ids[:3]) + (f" and {len(ids) - 3} older ones" if len(ids) > 3 else "")
    hint = f"; did you mean {near!r}?" if near else ""
    raise ChaosError(f"unknown run {word!r}; legal: {LATEST}, {PREVIOUS}, a run's folder, or an id: {newest}{hint}")


def selected(file: Path, word: str) -> Selected:
    """A run by what a person calls it; a folder is read without the history.

    Raises ChaosError for a folder without recorded scenarios, and for what names no run.
    """
    folder = _folder(file, word)
    if folder is not None:
        return Selected(folder.name, read_run(folder))
    with Database(file, create=False) as database:
        entry = select(database, word)
        return Selected(entry.id, database.scenarios(entry.id), entry)


def folders(file: Path, word: str) -> list[Path]:
    """Where the recordings of a run lie, by what a person calls it; several folders for a run with xdist.

    Raises ChaosError for what names no run, and for a run whose recordings are gone.
    """
    folder = _folder(file, word)
    if folder is not None:
        return [folder]
    with Database(file, create=False) as database:
        entry = select(database, word)
    # Where it was recorded, or below the history: reports are carried from machine to machine.
    found = [
        place
        for folder in (*entry.folders, Path(entry.id))  # the last: a run in which all failed before it was run
        for place in (folder, file.parent / "runs" / folder.name)
        if place.is_dir()
    ]
    if not found:
        raise ChaosError(f"the recordings of run {entry.id} are gone: {file} keeps its figures only")
    return list({place.resolve(): place for place in found}.values())


def _folder(file: Path, word: str) -> Path | None:
    """The folder that is meant: a path, or the name of one beside the history that is not in it.

    Raises ChaosError for what is no folder where there is no history either.
    """
    if word in (LATEST, PREVIOUS):
        return None
    if Path(word).is_dir():
        return Path(word)
    beside = file.parent / "runs" / word
    if file.exists():
        with Database(file) as database:
            known = any(entry.id.startswith(word) for entry in database.runs())
        return beside if not known and beside.is_dir() else None
    if beside.is_dir():
        return beside
    raise ChaosError(f"no history: {file} does not exist (a run of pytest --chaos makes it), and {word!r} is no folder")
