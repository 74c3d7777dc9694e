"""Runs into the file, and out of it again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import msgspec

from chaoskit.base.errors import ChaosError
from chaoskit.base.plain_files import MOST
from chaoskit.history.files import folder_below, read_json
from chaoskit.history.rows import Seconds
from chaoskit.report.runs import SKIPPED, Recorded, from_dict, moment
from chaoskit.report.score import scenario_key, score
from chaoskit.trend.history_db.revision import Revision
from chaoskit.trend.history_db.schema import check_schema, migrate

FILE = "history.db"
BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite adds to the name of the file: it would follow a link at each of these."""

KEEP = 200
"""Runs that are kept unless told otherwise."""

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""

_KEPT = {
    "findings": ("id", "outcome", "expected", "seen", "samples", "line"),
    "faults": ("name", "kind", "target", "touched", "unit"),
}
_INSERT = """
    INSERT INTO runs (id, started, wall, score, revision, branch, url, folders) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_NEWEST = """
    SELECT id, started, wall, score, revision, branch, url, gate, folders
    FROM runs ORDER BY started DESC, rowid DESC LIMIT ?
"""
_OUTCOMES = """
    SELECT run, key, control, scenarios.severity, outcome
    FROM scenarios JOIN runs ON runs.id = run ORDER BY started, runs.rowid
"""


@dataclass(frozen=True)
class Entry:
    """A run as it is kept. ``started`` is Unix time, ``wall`` seconds; ``counts`` is the number of each outcome.

    ``gate`` is ``passed`` or ``blocked``, empty when the gate was not asked.
    """

    id: str
    started: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    wall: Seconds
    score: Annotated[float, msgspec.Meta(ge=0, le=100)] | None
    revision: Revision
    gate: Annotated[str, msgspec.Meta(pattern=r"\A(passed|blocked|)\Z")]
    folders: Sequence[Path]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it may serve as a baseline: the gate passed it, or, where it was not asked, nothing failed."""
        if self.gate:
            return self.gate == "passed"
        return self.score is not None and set(self.counts) <= {"held", "caught", "skipped"}


class Database:
    """The file, open. Also a context manager. ``create=False`` raises ChaosError where there is none."""

    def __init__(self, file: Path, *, create: bool = True) -> None:
        self.file = file
        if not create and not file.exists():
            raise ChaosError(f"no history: {file} does not exist (a run of pytest --chaos makes it)")
        for each in (Path(f"{file}{name}") for name in BESIDE):
            if each.is_symlink():
                raise ChaosError(f"{each} is a symbolic link, which is not followed: put the file itself there")
            if each.exists() and not each.is_file():
                raise ChaosError(f"{each} is no regular file")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ChaosError(f"{file} cannot be opened: {error}") from None
        try:
            with self._told():
                # No WAL: the history stays one file, which a CI cache can carry and a network disk can hold.
                self._db.execute("PRAGMA foreign_keys = ON")
                self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST)
                migrate(self._db, file)
                check_schema(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """A file that cannot be read or written, or that holds what we have not written, is a ChaosError."""
        try:
            yield
        except sqlite3.Error as error:
            raise ChaosError(f"{self.file}: {error}") from None
        except (ValueError, msgspec.ValidationError) as error:
            raise ChaosError(f"{self.file} is not as chaoskit writes it: {error}") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise

    def record(self, run: str, recorded: Sequence[Recorded], revision: Revision, *, keep: int = KEEP) -> None:
        """Keep a run, in place of one with the same id; then forget the oldest, so that ``keep`` are left.

        Raises ChaosError when the file cannot be written.
        """
        starts = [moment(each.started) for each in recorded if each.started] or [0.0]
        ends = [moment(each.started) + each.wall for each in recorded if each.started] or [0.0]
        folders = sorted({str(each.folder.parent) for each in recorded if each.folder is not None})
        with self._writing():
            self._db.execute("DELETE FROM runs WHERE id = ?", (run,))
            self._db.execute(
                _INSERT,
                (
                    run, min(starts), max(ends) - min(starts), score(recorded),
                    revision.commit, revision.branch, revision.url, json.dumps(folders),
                ),
            )  # fmt: skip
            self._db.executemany(
                "INSERT OR REPLACE INTO scenarios (run, key, control, severity, outcome, recovery, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (run, each.key, each.control, each.severity, each.outcome, each.recovery, _data(each))
                    for each in recorded
                ],
            )
            self._db.execute(
                "DELETE FROM runs WHERE id NOT IN (SELECT id FROM runs ORDER BY started DESC, rowid DESC LIMIT ?)",
                (max(1, keep),),
            )

    def set_gate(self, run: str, gate: str) -> None:
        """Note what the gate said of a run."""
        with self._writing():
            self._db.execute("UPDATE runs SET gate = ? WHERE id = ?", (gate, run))

    def runs(self, limit: int | None = None) -> list[Entry]:
        """The runs, newest first."""
        with self._told():
            rows = self._db.execute(_NEWEST, (-1 if limit is None else limit,)).fetchall()
            counts: dict[str, Counter[str]] = {row[0]: Counter() for row in rows}
            for run, outcome, number in self._db.execute(
                "SELECT run, outcome, count(*) FROM scenarios GROUP BY run, outcome"
            ):
                if run in counts:
                    counts[run][outcome] = number
            return [
                _typed(
                    {
                        "id": run,
                        "started": started,
                        "wall": wall,
                        "score": score,
                        "revision": {"commit": commit, "branch": branch, "url": url},
                        "gate": gate,
                        "folders": read_json(folders),
                        "counts": dict(counts[run]),
                    },
                    Entry,
                )
                for run, started, wall, score, commit, branch, url, gate, folders in rows
            ]

    def scenarios(self, run: str) -> list[Recorded]:
        """What was recorded of a run, by key. Rows behind findings and evidence of faults are not kept.

        Their folders are those below this file, whatever the file says: reports are carried from machine to machine,
        and a folder elsewhere may be anything.
        """
        with self._told():
            rows = self._db.execute("SELECT data FROM scenarios WHERE run = ? ORDER BY key", (run,)).fetchall()
            recorded = [from_dict(read_json(data)) for (data,) in rows]
        return [replace(each, folder=each.folder and self.folder(*each.folder.parts[-2:])) for each in recorded]

    def folder(self, *names: str) -> Path:
        """The folder of a run, or of a scenario in it, below this file. It may be gone. BrokenError: a link."""
        return folder_below(self.file.parent, "runs", *names)

    def outcomes(self, runs: Sequence[str]) -> dict[str, dict[str, str]]:
        """By run, the outcome of each scenario by key."""
        found: dict[str, dict[str, str]] = {run: {} for run in runs}
        with self._told():
            for run in runs:
                rows = self._db.execute("SELECT key, outcome FROM scenarios WHERE run = ?", (run,))
                found[run].update(rows.fetchall())
            return _typed(found, dict[str, dict[str, str]])

    def trend(self, limit: int = 30) -> list[tuple[str, float]]:
        """Ids and scores up to the newest run that has a score, oldest first, all over that run's scenarios.

        A run of some of them counts the others as they last were; a run of none of them is left out.
        """
        runs: dict[str, list[Recorded]] = {}
        with self._told():
            for run, key, control, severity, outcome in self._db.execute(_OUTCOMES):
                if outcome != SKIPPED:
                    runs.setdefault(_typed(run, str), []).append(_bare(key, bool(control), severity, outcome))
        if not runs:
            return []
        wanted = {scenario_key(each) for each in runs[list(runs)[-1]]}
        last: dict[str, list[Recorded]] = {}
        points = []
        for run, recorded in runs.items():
            here: dict[str, list[Recorded]] = {}
            for each in recorded:
                if (key := scenario_key(each)) in wanted:
                    here.setdefault(key, []).append(each)
            last |= here
            value = score([each for found in last.values() for each in found])
            if here and value is not None:
                points.append((run, value))
        return points[-limit:]


def _bare(key: str, control: bool, severity: str, outcome: str) -> Recorded:
    """As much of a recorded scenario as its score needs. Raises ValueError."""
    bare = {"folder": None, "scenario": key, "slug": key, "outcome": outcome, "reason": "", "control": control}
    return from_dict({**bare, "severity": severity})


def _typed(data: Any, kind: type[T]) -> T:
    """What was in the file as what it should be: SQLite keeps any type in any column. Raises msgspec's error."""
    return msgspec.convert(data, kind, dec_hook=lambda _, folder: Path(folder))


def _data(recorded: Recorded) -> str:
    slim = recorded.as_dict()
    slim["description"] = ""
    for name, keys in _KEPT.items():
        slim[name] = [{key: each[key] for key in keys} for each in slim[name]]
    return json.dumps(slim, ensure_ascii=False, separators=(",", ":"), default=str)
