"""Reading journals, and undoing what owners that died left open in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaoskit.errors import BrokenError
from chaoskit.pids import MARK, Pid, identify
from chaoskit.undo import Entry

SUFFIX = ".journal"
PATIENCE = 10.0
"""Seconds that a sweep waits for another one that is at the same journal."""
DRAFT_AGE = 60.0
"""Seconds after which a journal that is still being born never will be."""


def state_folder() -> Path:
    """Where the second copy of each journal lies: it outlives a deleted ``reports`` folder.

    ``$XDG_STATE_HOME/chaoskit/journals``, by default below ``~/.local/state``.
    """
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        root = base if base.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:  # a user without a home
        root = Path(tempfile.gettempdir(), f"chaoskit-state-{os.geteuid()}")
    return root / "chaoskit" / "journals"


def owner_line() -> dict[str, Any]:
    """This process as the owner of a journal."""
    me = identify(os.getpid())
    assert me is not None
    return {"pid": me.pid, "start": me.start, "boot": _boot(), "space": _space()}


def sweep(*folders: Path) -> list[str]:
    """Undo what dead owners left open in the journals below ``folders``.

    Tells what was undone and what could not be. The journal of a living owner, and that of another user, is never
    touched. Two sweeps at once do not meet in one journal: the second waits.
    """
    told: list[str] = []
    twins: set[str] = set()
    for folder in folders:
        _remove_drafts(folder)
    for path in [path for folder in folders for path in _journals(folder)]:
        if str(path) in twins:
            continue
        # Another sweep was at it, or it is another user's and so are its processes.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            found, twin = _sweep_one(path)
            told += found
            twins.add(twin)
    return told


def sweep_copies(paths: list[Path]) -> list[str]:
    """Sweep the first of several copies of one journal that exists."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return _sweep_one(path)[0]
    return []


@dataclass
class Contents:
    """What a journal says: its owner (None: it is no journal), and what is open."""

    owner: dict[str, Any] | None = None
    entries: dict[int, Entry] = field(default_factory=dict)

    def take(self, text: str) -> None:
        """Take in one line. One that was cut short was never acted on."""
        try:
            line = json.loads(text)
        except ValueError:
            return
        if self.owner is None:
            self.owner = line if isinstance(line, dict) and "pid" in line and "start" in line else {}
        elif "add" in line:
            self.entries[line["add"]] = Entry(line["kind"], line["facts"], line.get("until"), line.get("in", ""))
        elif "note" in line and line["note"] in self.entries:
            self.entries[line["note"]].facts.update(line["facts"])
        elif "prolong" in line and line["prolong"] in self.entries:
            self.entries[line["prolong"]] = replace(self.entries[line["prolong"]], until=line["until"])
        elif "done" in line:
            self.entries.pop(line["done"], None)


def read(path: Path) -> Contents:
    """Read a whole journal."""
    contents = Contents()
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        contents.take(text)
    return contents


def lives(owner: dict[str, Any]) -> bool:
    """Whether the owner of a journal runs. Raises BrokenError when that cannot be told from here."""
    if owner.get("space", _space()) != _space():
        raise BrokenError("its run belongs to another machine or container; remove the file if that is gone")
    return owner["boot"] == _boot() and Pid(owner["pid"], owner["start"]).alive()


def _journals(folder: Path) -> list[Path]:
    """All journals below ``folder``, where living runs make and remove folders while we look."""
    walk = os.walk(folder)  # unlike rglob it passes over a folder that vanishes
    return sorted(Path(place, name) for place, _, names in walk for name in names if name.endswith(SUFFIX))


def _remove_drafts(folder: Path) -> None:
    """What an owner leaves that was killed while its journal was being born."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if name.startswith(".") and f"{SUFFIX}." in name):
            with contextlib.suppress(OSError):
                if path.stat().st_uid == os.geteuid() and time.time() - path.stat().st_mtime > DRAFT_AGE:
                    path.unlink()


def _sweep_one(path: Path) -> tuple[list[str], str]:
    """What was done, and the path of the journal's twin."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            return [], ""  # root may write to it, and still must not do what another user wrote down
        owner = read(path).owner
        if not owner:
            return [f"{path}: not a journal of this version, left alone"], ""
        twin = owner.get("twin", "")
        try:
            if lives(owner):
                return [], twin
        except BrokenError as error:
            return [f"{path}: left alone: {error}"], twin
        if not _lock(handle):
            return [f"{path}: left alone: another sweep has been at it for {PATIENCE:g} s"], twin
        if os.fstat(handle).st_nlink == 0:
            return [], twin  # the other sweep has done it all
        told, left = _undo(handle, read(path).entries, owner["run"])
        if not left:
            for copy in filter(None, (str(path), twin)):
                Path(copy).unlink(missing_ok=True)
        return told, twin
    finally:
        os.close(handle)


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
