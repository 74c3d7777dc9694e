"""Reading journals, and undoing what owners that died left open in them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.base.plain_files import MOST
from chaoskit.system.pids import MARK, Pid, identify
from chaoskit.system.undo import Entry, below

SUFFIX = ".journal"
PATIENCE = 10.0
"""Seconds that a sweep waits for another one that is at the same journal."""
DRAFT_AGE = 60.0
"""Seconds after which a journal that is still being born never will be."""


def state_folders() -> list[Path]:
    """Where journals may lie, the best first: ``$XDG_STATE_HOME/chaoskit/journals``; where that is not set, the same
    below ``~/.local/state`` and, for a user whose home cannot be written, a folder of his own among temporary files."""
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    if named.is_absolute():
        return [named / "chaoskit" / "journals"]
    folders = [Path(tempfile.gettempdir(), f"chaoskit-journals-{os.geteuid()}")]
    with contextlib.suppress(RuntimeError):  # a user without a home
        folders.insert(0, Path.home() / ".local" / "state" / "chaoskit" / "journals")
    return folders


def state_folder() -> Path:
    """The folder for a new journal, which nobody else can write to (mode 0700). Raises BrokenError without one."""
    why = []
    for folder in state_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            reason = _distrust(folder) or ("" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written")
        except OSError as error:
            reason = error.strerror or str(error)
        if not reason:
            return folder
        why.append(f"{folder}: {reason}")
    raise BrokenError(
        "no place for the undo journal, without which nothing may be changed: " + "; ".join(why) + "; XDG_STATE_HOME "
        "may name another folder that only you can write to"
    )


def _distrust(folder: Path) -> str:
    """Why what lies in ``folder`` may be somebody else's; empty if it is ours alone, which this makes sure of."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        seen = os.fstat(handle)
        if seen.st_uid != os.geteuid():
            return "it belongs to another user"
        if seen.st_mode & 0o022:
            return "others may write to it; look at what is in it, then remove it"
        if seen.st_mode & 0o7777 != 0o700:
            os.fchmod(handle, 0o700)
        return ""
    finally:
        os.close(handle)


def owner_line() -> dict[str, Any]:
    """This process as the owner of a journal."""
    me = identify(os.getpid())
    assert me is not None
    return {"pid": me.pid, "start": me.start, "boot": _boot(), "space": _space()}


def sweep(*folders: Path) -> list[str]:
    """Undo what dead owners left open in the journals that lie in ``folders``, by default :func:`state_folders`.

    Only a folder that nobody else can write to is looked into (docs/decisions/0030-whose-journal-is-believed.md).
    Tells what was undone and what could not be. The journal of a living owner, and that of another user, is never
    touched. Two sweeps at once do not meet in one journal: the second waits.
    """
    told: list[str] = []
    for folder in folders or state_folders():
        try:
            reason = _distrust(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            told.append(f"{folder}: not looked into: {reason}")
            continue
        _remove_drafts(folder)
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            # Another sweep was at it, or it is another user's and so are its processes.
            with contextlib.suppress(FileNotFoundError, PermissionError), opened(path) as handle:
                told += sweep_one(path, handle)
    return told


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A journal, to read and to add lines. Raises FileNotFoundError, and PermissionError where it is not ours."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "a link" if error.errno == errno.ELOOP else f"no file of this user's: {error.strerror}"
        raise PermissionError(f"{path} is {why}") from error
    try:
        seen = os.fstat(handle)
        if seen.st_uid != os.geteuid() or not stat.S_ISREG(seen.st_mode):
            raise PermissionError(f"{path} is not a file of this user's")
        yield handle
    finally:
        os.close(handle)


@dataclass
class Contents:
    """What a journal says: its owner (None: it is no journal), and what is open."""

    owner: dict[str, Any] | None = None
    entries: dict[int, Entry] = field(default_factory=dict)

    def take(self, line: dict[str, Any]) -> None:
        """Take in one line."""
        if self.owner is None:
            texts = all(isinstance(line.get(key, ""), str) for key in ("copy", "root"))
            self.owner = line if is_owner(line) and isinstance(line.get("run"), str) and texts else {}
            return
        with contextlib.suppress(KeyError, TypeError, ValueError):  # none of ours
            if "add" in line:
                self.entries[number_in(line, "add")] = Entry.from_line(line)
            elif "note" in line:
                self.entries[number_in(line, "note")].facts.update(line["facts"])
            elif "prolong" in line:
                entry, until = self.entries[number_in(line, "prolong")], line["until"]
                self.entries[number_in(line, "prolong")] = replace(entry, until=None if until is None else float(until))
            elif "done" in line:
                self.entries.pop(number_in(line, "done"), None)


def number_in(line: dict[str, Any], key: str) -> int:
    """The number that a line has under ``key``. Raises KeyError, and TypeError for something else."""
    found = line[key]
    if type(found) is not int:
        raise TypeError(key)
    return found


def is_owner(line: dict[str, Any]) -> bool:
    """Whether a line names a process, as :func:`owner_line` does: a line of anybody may stand in its place."""
    numbers = all(type(line.get(key)) is int for key in ("pid", "start")) and 0 < line["pid"] < 1 << 31
    return numbers and isinstance(line.get("boot"), str) and isinstance(line.get("space", ""), str)


def decode(text: bytes) -> dict[str, Any] | None:
    """One line; None for one that was cut short, which was never acted on, and for what nobody of us wrote."""
    try:
        line = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def read_lines(handle: int) -> Iterator[dict[str, Any]]:
    """The lines of an open file from its beginning."""
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        yield from filter(None, map(decode, iter(lambda: file.readline(MOST), b"")))


def read(handle: int) -> Contents:
    """Read a whole journal."""
    contents = Contents()
    for line in read_lines(handle):
        contents.take(line)
    return contents


def lives(owner: dict[str, Any]) -> bool:
    """Whether an :func:`owner <is_owner>` runs. Raises BrokenError when that cannot be told from here."""
    if owner.get("space", _space()) != _space():
        raise BrokenError("its run belongs to another machine or container; remove the file if that is gone")
    return owner["boot"] == _boot() and Pid(owner["pid"], owner["start"]).alive()


def _remove_drafts(folder: Path) -> None:
    """What an owner leaves that was killed while its journal was being born."""
    for path in folder.glob(f".*{SUFFIX}.*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.geteuid() and time.time() - path.lstat().st_mtime > DRAFT_AGE:
                path.unlink()


def sweep_one(path: Path, handle: int) -> list[str]:
    """Sweep the journal that is open as ``handle``, wherever its file has gone. Tells what was done."""
    owner = read(handle).owner
    if not owner:
        return [f"{path}: not a journal of this version, left alone"]
    try:
        if lives(owner):
            return []
    except BrokenError as error:
        return [f"{path}: left alone: {error}"]
    if not _lock(handle):
        return [f"{path}: left alone: another sweep has been at it for {PATIENCE:g} s"]
    told, left = _undo(handle, read(handle).entries, owner["run"])
    if not left:
        path.unlink(missing_ok=True)
        remove_copy(owner.get("copy", ""), owner.get("root", ""))
    return told


def remove_copy(copy: str, root: str) -> None:
    """Remove the copy of a journal that people may have looked at, if it lies where it was made."""
    with contextlib.suppress(ChaosError, OSError):
        if copy:
            below(copy, root).unlink(missing_ok=True)


def _undo(handle: int, entries: dict[int, Entry], run: str) -> tuple[list[str], bool]:
    """Undo the latest first. Tells what happened, and whether something is left."""
    told, left = [], False
    for number in sorted(entries, reverse=True):
        entry = entries[number]
        if entry.kind == "process" and entry.facts.get("pidfile") == os.environ.get(MARK):
            continue  # that is ourselves: the guardian, which ends when this is done
        try:
            entry.undo()
        except Exception as error:
            left = True
            told.append(f"{entry} of run {run}: could not be undone: {error}")
        else:
            os.write(handle, json.dumps({"done": number}).encode() + b"\n")
            told.append(f"{entry} of run {run}")
    return told, left


def _lock(handle: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _boot() -> str:
    """Changes when the machine starts anew, when pids and start times begin again."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _space() -> str:
    """Where pids mean the same: this machine, this container."""
    return f"{os.uname().nodename} {Path('/proc/self/ns/pid').readlink()}"
