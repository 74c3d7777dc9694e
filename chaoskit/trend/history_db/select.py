"""What a person calls a run: its id (or the start of it), ``latest``, ``previous``, or a folder. For all commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.errors import ChaosError, nearest
from chaoskit.history.files import folder_below
from chaoskit.report.runs import Recorded, read_run
from chaoskit.trend.history_db.store import Database, Entry

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

    Below the history, if it is not a folder that the person names: the history may name any folder of the user's.

    Raises ChaosError for what names no run, and for a run whose recordings are gone.
    """
    folder = _folder(file, word)
    if folder is not None:
        return [folder]
    with Database(file, create=False) as database:
        entry = select(database, word)
        # The last is that of a run in which all failed before it was run.
        found = [database.folder(name) for name in (*(folder.name for folder in entry.folders), entry.id)]
    places = [place for place in dict.fromkeys(found) if place.is_dir()]
    if not places:
        raise ChaosError(f"the recordings of run {entry.id} are gone: {file} keeps its figures only")
    return places


def _folder(file: Path, word: str) -> Path | None:
    """The folder that is meant: a path, or the name of one beside the history that is not in it.

    Raises ChaosError for what is no folder where there is no history either.
    """
    if word in (LATEST, PREVIOUS):
        return None
    if Path(word).is_dir():
        return Path(word)
    beside = folder_below(file.parent, "runs", *Path(word).parts)
    if file.exists():
        with Database(file) as database:
            known = any(entry.id.startswith(word) for entry in database.runs())
        return beside if not known and beside.is_dir() else None
    if beside.is_dir():
        return beside
    raise ChaosError(f"no history: {file} does not exist (a run of pytest --chaos makes it), and {word!r} is no folder")
