"""The undo journal: every change to the outside world is written down before it is made.

One JSON-lines file per owner process. The first line names the owner (pid, start time, boot), each further
line opens (``add``) or closes (``done``) an entry. Lines are written with one ``write`` each, so they are in
the kernel's hands, and survive us, before the change happens; there is no fsync, as a change to processes and
sockets does not outlive the machine either. What an owner that died leaves open is undone by
:func:`chaoskit.sweep.sweep`: at once by its guardian (:mod:`chaoskit.guardian`), else by the next run.

How an entry is undone depends on its *kind*, see :mod:`chaoskit.undo`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaoskit.errors import BrokenError, ChaosError, unknown
from chaoskit.sweep import SUFFIX, owner_line, state_folder, sweep
from chaoskit.undo import KINDS, LASTING, Entry, Facts, home_of, lease, lease_end, register_kind

__all__ = ["KINDS", "Facts", "Journal", "lease", "lease_end", "register_kind", "sweep"]


class Journal:
    """The journal of this process. Safe to use from all threads.

    Creating it writes the owner's line; raises BrokenError when the file exists or cannot be written. With
    ``twice`` all is written to a second file below :func:`~chaoskit.sweep.state_folder` too, where that can be.
    """

    def __init__(self, path: Path, *, run_id: str = "", twice: bool = False) -> None:
        self.path = path
        self.run_id = run_id or path.stem
        self.twin = _second_place(self.run_id) if twice else None
        self._lock = threading.RLock()
        self._open: dict[int, Entry] = {}
        self._last = 0
        self._pid = os.getpid()
        header = {**owner_line(), "run": self.run_id}
        if self.twin is not None:
            header["twin"] = str(self.twin)
        self._file = _create(path, header)
        self._copy = -1
        if self.twin is not None:
            try:
                self._copy = _create(self.twin, {**header, "twin": str(path.absolute())})
            except BrokenError:  # no home to write to: the one beside the run must do
                self.twin = None

    def add(self, kind: str, *, until: float | None = None, **facts: Any) -> int:
        """Write an entry; the change may be made once this returns. Gives the entry's number.

        ``until`` (monotonic s) is when the change is undone even if we hang; not given, what is changed while a
        fault is injected ends with the fault's lease (see :func:`~chaoskit.undo.lease`). Raises ChaosError for an
        unknown kind, BrokenError when the entry cannot be written.
        """
        if kind not in KINDS:
            raise ChaosError(unknown("kind of journal entry", kind, KINDS))
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in facts.items()}
        if until is None and kind not in LASTING:
            until = lease_end()
        entry = Entry(kind, facts, until, home_of(kind))
        line: dict[str, Any] = {"kind": kind, "facts": facts}
        if entry.until is not None:
            line["until"] = entry.until
        if entry.home:
            line["in"] = entry.home
        with self._lock:
            self._last += 1
            self._write({"add": self._last, **line})
            self._open[self._last] = entry
            return self._last

    def note(self, entry: int, **facts: Any) -> None:
        """Add what became known of an open entry's change only when it was made: a pid, say."""
        with self._lock:
            found = self._open.get(entry)
            if found is not None and self._file >= 0:
                self._write({"note": entry, "facts": facts})
                found.facts.update(facts)

    def prolong(self, entry: int) -> None:
        """Let an entry that is open last as long as the lease of this thread does, if that ends later than its own."""
        until = lease_end()
        with self._lock:
            found = self._open.get(entry)
            if found is None or found.until is None or (until is not None and until <= found.until):
                return
            if self._file >= 0:
                self._write({"prolong": entry, "until": until})
            self._open[entry] = replace(found, until=until)

    def done(self, entry: int) -> None:
        """Note that an entry's change was undone (or never made). Has no effect the second time."""
        with self._lock:
            if self._open.pop(entry, None) is not None and self._file >= 0:
                self._write({"done": entry})

    @contextlib.contextmanager
    def entry(self, kind: str, **facts: Any) -> Iterator[int]:
        """An entry for the length of a block that makes a change and undoes it.

        A block that raises leaves its entry open, for :meth:`undo_all`.
        """
        number = self.add(kind, **facts)
        yield number
        self.done(number)

    def make_folder(self, path: Path) -> int:
        """Make a private folder (mode 0700, parents as needed) and journal its removal.

        Raises BrokenError when it exists: then it is not ours to remove.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise BrokenError(f"{path} exists already; a run makes its own folders")
        number = self.add("folder", path=path)
        path.mkdir(mode=0o700)
        return number

    def open_entries(self) -> list[tuple[str, Facts]]:
        """Kind and facts of what is not undone yet, oldest first."""
        with self._lock:
            return [(entry.kind, entry.facts) for entry in self._open.values()]

    def undo(self, entry: int) -> None:
        """Undo one entry now. Has no effect when it is done already. Raises BrokenError when it fails."""
        with self._lock:
            found = self._open.get(entry)
        if found is not None:
            try:
                found.undo()
            except OSError as error:
                raise BrokenError(f"could not undo {found}: {error}") from error
            self.done(entry)

    def undo_all(self) -> list[str]:
        """Undo what is open, the latest first, and tell what it was. May be called again.

        One that cannot be undone stays open and does not keep the others from being undone; then
        BrokenError tells all that went wrong. Does nothing in a forked child: the journal is its parent's.
        """
        if os.getpid() != self._pid:
            return []
        with self._lock:
            numbers = sorted(self._open, reverse=True)
        told, failed = [], []
        for number in numbers:
            with self._lock:
                found = self._open.get(number)
            if found is None:
                continue
            try:
                self.undo(number)
            except Exception as error:
                failed.append(f"{found}: {error.__cause__ or error}")
            else:
                told.append(str(found))
        if failed:
            raise BrokenError("could not undo " + "; ".join(failed))
        return told

    def close(self) -> None:
        """End the journal. Its file goes when nothing is open; one on disk means something may be left."""
        with self._lock:
            if self._file < 0 or os.getpid() != self._pid:
                return
            os.close(self._file)
            self._file = -1
            if self._copy >= 0:
                os.close(self._copy)
            if not self._open:
                for path in filter(None, (self.path, self.twin)):
                    path.unlink(missing_ok=True)

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise BrokenError(f"cannot write the undo journal {self.path}: {error}") from error
        if written != len(data):
            raise BrokenError(f"cannot write the undo journal {self.path}: the disk is full")
        if self._copy >= 0:
            with contextlib.suppress(OSError):  # the first is written, and that is what counts
                os.write(self._copy, data)


def _create(path: Path, header: dict[str, Any]) -> int:
    """Make the file appear with its owner's line in it: a sweep must never see a journal without owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        os.write(handle, json.dumps(header).encode() + b"\n")
        os.link(draft, path)
    except OSError as error:
        os.close(handle)
        raise BrokenError(f"cannot make the undo journal {path}: {error}") from error
    finally:
        draft.unlink()
    return handle


def _second_place(run_id: str) -> Path | None:
    """A file of its own in the state folder, which only we may look into; None where there can be none."""
    folder = state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            return None
        folder.chmod(0o700)
    except OSError:
        return None
    return folder / f"{run_id}-{secrets.token_hex(4)}{SUFFIX}"
