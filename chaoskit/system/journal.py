"""The undo journal: every change to the outside world is written down before it is made.

One JSON-lines file per owner process. The first line names the owner (pid, start time, boot), each further
line opens (``add``) or closes (``done``) an entry. Lines are written with one ``write`` each, so they are in
the kernel's hands, and survive us, before the change happens; there is no fsync, as a change to processes and
sockets does not outlive the machine either. What an owner that died leaves open is undone by
:func:`chaoskit.system.sweep.sweep`: at once by its guardian (:mod:`chaoskit.system.guardian`), else by the next run.

How an entry is undone depends on its *kind*, see :mod:`chaoskit.system.undo`.
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

from chaoskit.base.errors import BrokenError
from chaoskit.system.sweep import SUFFIX, owner_line, remove_copy, state_folder, sweep
from chaoskit.system.undo import KINDS, Entry, Facts, lease, lease_end, register_kind

__all__ = ["KINDS", "Facts", "Journal", "lease", "lease_end", "register_kind", "sweep"]


class Journal:
    """The journal of this process. Safe to use from all threads.

    Creating it writes the owner's line; raises BrokenError when the file exists or cannot be written. ``root`` is the
    folder below which the paths of entries must lie (default: the journal's own). All is written to ``copy`` too, where
    that can be; nothing reads it.
    """

    def __init__(self, path: Path, *, run_id: str = "", root: Path | None = None, copy: Path | None = None) -> None:
        self.path = path.absolute()
        self.run_id = run_id or path.stem
        self.root = (root or path.parent).resolve()
        self.copy = copy.absolute() if copy is not None else None
        self._lock = threading.RLock()
        self._open: dict[int, Entry] = {}
        self._last = 0
        self._pid = os.getpid()
        header = {**owner_line(), "run": self.run_id, "root": str(self.root)}
        if self.copy is not None:
            header["copy"] = str(self.copy)
        self._file = _create(self.path, header)
        self._copy = -1
        if self.copy is not None:
            with contextlib.suppress(OSError):  # people can do without
                self.copy.parent.mkdir(parents=True, exist_ok=True)
                self._copy = os.open(self.copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                os.write(self._copy, json.dumps({"copy of": str(self.path), **header}).encode() + b"\n")

    @classmethod
    def of_run(cls, run_id: str, folder: Path) -> Journal:
        """The journal of a run whose files lie in ``folder``; there stands a copy for people, ``undo.journal``.

        What is acted on lies in :func:`~chaoskit.system.sweep.state_folder`. Raises BrokenError where there can be
        none.
        """
        path = state_folder() / f"{run_id}-{secrets.token_hex(4)}{SUFFIX}"
        return cls(path, run_id=run_id, root=folder, copy=folder / f"undo{SUFFIX}")

    def add(self, kind: str, *, until: float | None = None, root: Path | None = None, **facts: Any) -> int:
        """Write an entry; the change may be made once this returns. Gives the entry's number.

        ``until`` (monotonic s) is when the change is undone even if we hang; not given, what is changed while a
        fault is injected ends with the fault's lease (see :func:`~chaoskit.system.undo.lease`). ``root`` is the folder
        below which its paths lie, if not the journal's. Raises ChaosError for an unknown kind, one that nobody else
        could undo, and a path elsewhere; BrokenError when the entry cannot be written.
        """
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in facts.items()}
        if until is None and kind in KINDS and not KINDS[kind].lasting:
            until = lease_end()
        entry = Entry.make(kind, facts, until, str(self.root if root is None else root.resolve()))
        with self._lock:
            self._last += 1
            self._write({"add": self._last, **entry.as_line()})
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
                self.path.unlink(missing_ok=True)
                remove_copy(str(self.copy or ""), str(self.root))

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
    try:
        draft.unlink(missing_ok=True)  # of one that died, long ago, with the number that we have now
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BrokenError(f"cannot make the undo journal {path}: {error}") from error
    try:
        os.write(handle, json.dumps(header).encode() + b"\n")
        os.link(draft, path)
    except OSError as error:
        os.close(handle)
        raise BrokenError(f"cannot make the undo journal {path}: {error}") from error
    finally:
        draft.unlink()
    return handle
