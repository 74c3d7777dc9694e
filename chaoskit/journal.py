"""The undo journal: every change to the outside world is written down before it is made.

One JSON-lines file per owner process. The first line names the owner (pid, start time, boot), each further
line opens (``add``) or closes (``done``) an entry. Lines are written with one ``write`` each, so they are in
the kernel's hands, and survive us, before the change happens; there is no fsync, as a change to processes and
sockets does not outlive the machine either. What an owner that died leaves open is undone by :func:`sweep`.

How an entry is undone depends on its *kind*. Undoing must be idempotent: it may happen to a change that was
never made, or undone already.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaoskit.errors import BrokenError, ChaosError, unknown
from chaoskit.pids import Pid, end_by_pidfile, identify

Facts = dict[str, Any]
Undo = Callable[[Facts], None]

SUFFIX = ".journal"


def _undo_process(facts: Facts) -> None:
    first = signal.Signals[facts.get("signal", "SIGTERM")]
    end_by_pidfile(Path(facts["pidfile"]), first=first, grace=facts.get("grace", 1.0))


def _undo_folder(facts: Facts) -> None:
    deadline = time.monotonic() + 2.0
    while True:
        try:
            shutil.rmtree(facts["path"])
        except FileNotFoundError:
            # Either the folder itself or a file that a dying process took away under our hands.
            if not Path(facts["path"]).exists():
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _undo_signal(facts: Facts) -> None:
    Pid(facts["pid"], facts["start"]).signal(signal.SIGCONT)


KINDS: dict[str, Undo] = {
    "process": _undo_process,  # {name, pidfile, signal="SIGTERM", grace=1.0}: end the process
    "folder": _undo_folder,  # {path}: remove the folder
    "signal": _undo_signal,  # {pid, start}: let a stopped process go on
}


def register_kind(kind: str, undo: Undo) -> None:
    """Teach the journal to undo entries of a further kind. Raises ChaosError when the name is taken."""
    if KINDS.setdefault(kind, undo) is not undo:
        raise ChaosError(f"two ways to undo journal entries of the kind {kind!r}")


class Journal:
    """The journal of this process. Safe to use from all threads.

    Creating it writes the owner's line; raises BrokenError when the file exists or cannot be written.
    """

    def __init__(self, path: Path, *, run_id: str = "") -> None:
        self.path = path
        self.run_id = run_id or path.stem
        self._lock = threading.RLock()
        self._open: dict[int, tuple[str, Facts]] = {}
        self._last = 0
        self._pid = os.getpid()
        self._file = _create(path, {**_owner(), "run": self.run_id})

    def add(self, kind: str, **facts: Any) -> int:
        """Write an entry; the change may be made once this returns. Gives the entry's number.

        Raises ChaosError for an unknown kind, BrokenError when the entry cannot be written.
        """
        if kind not in KINDS:
            raise ChaosError(unknown("kind of journal entry", kind, KINDS))
        facts = {name: str(value) if isinstance(value, Path) else value for name, value in facts.items()}
        with self._lock:
            self._last += 1
            self._write({"add": self._last, "kind": kind, "facts": facts})
            self._open[self._last] = (kind, facts)
            return self._last

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
            return list(self._open.values())

    def undo(self, entry: int) -> None:
        """Undo one entry now. Has no effect when it is done already. Raises BrokenError when it fails."""
        with self._lock:
            found = self._open.get(entry)
        if found is not None:
            try:
                KINDS[found[0]](found[1])
            except OSError as error:
                raise BrokenError(f"could not undo {_describe(*found)}: {error}") from error
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
                failed.append(f"{_describe(*found)}: {error.__cause__ or error}")
            else:
                told.append(_describe(*found))
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
            if not self._open:
                self.path.unlink(missing_ok=True)

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise BrokenError(f"cannot write the undo journal {self.path}: {error}") from error
        if written != len(data):
            raise BrokenError(f"cannot write the undo journal {self.path}: the disk is full")


def sweep(folder: Path) -> list[str]:
    """Undo what dead owners left open in the journals below ``folder``.

    Tells what was undone and what could not be. The journal of a living owner is never touched. Two sweeps at
    once do not meet in one journal.
    """
    told: list[str] = []
    for path in _journals(folder):
        # Another sweep was or is at it, or it is another user's and so are its processes.
        with contextlib.suppress(FileNotFoundError, BlockingIOError, PermissionError):
            told += _sweep_one(path)
    return told


def _journals(folder: Path) -> list[Path]:
    """All journals below ``folder``, where living runs make and remove folders while we look."""
    walk = os.walk(folder)  # unlike rglob it passes over a folder that vanishes
    return sorted(Path(place, name) for place, _, names in walk for name in names if name.endswith(SUFFIX))


def _sweep_one(path: Path) -> list[str]:
    handle = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner, entries = _read(path)
        if owner is None:
            return [f"{path}: not a journal of this version, left alone"]
        if _lives(owner):
            return []
        told, left = [], False
        for number in sorted(entries, reverse=True):
            kind, facts = entries[number]
            try:
                if kind not in KINDS:
                    raise ChaosError(unknown("kind of journal entry", kind, KINDS))
                KINDS[kind](facts)
            except Exception as error:
                left = True
                told.append(f"{_describe(kind, facts)} of run {owner['run']}: could not be undone: {error}")
            else:
                os.write(handle, json.dumps({"done": number}).encode() + b"\n")
                told.append(f"{_describe(kind, facts)} of run {owner['run']}")
        if not left:
            path.unlink(missing_ok=True)
        return told
    finally:
        os.close(handle)


def _read(path: Path) -> tuple[dict[str, Any] | None, dict[int, tuple[str, Facts]]]:
    """The owner's line and the open entries. A last line that was cut short was never acted on."""
    owner: dict[str, Any] | None = None
    entries: dict[int, tuple[str, Facts]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if owner is None:
            if "pid" not in line or "start" not in line:
                return None, {}
            owner = line
        elif "add" in line:
            entries[line["add"]] = (line["kind"], line["facts"])
        elif "done" in line:
            entries.pop(line["done"], None)
    return owner, entries


def _owner() -> dict[str, Any]:
    me = identify(os.getpid())
    assert me is not None
    return {"pid": me.pid, "start": me.start, "boot": _boot()}


def _boot() -> str:
    """Changes when the machine starts anew, when pids and start times begin again."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _lives(owner: dict[str, Any]) -> bool:
    return owner["boot"] == _boot() and Pid(owner["pid"], owner["start"]).alive()


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


def _describe(kind: str, facts: Facts) -> str:
    name = facts.get("name") or facts.get("path") or facts.get("pid") or ""
    return f"{kind} {name}".strip()
