"""How a journaled change is undone, by its *kind*, and until when it may last: its *lease*.

Undoing must be idempotent: it may happen to a change that was never made, or undone already, and by two at once.
The process that undoes need not be the one that made the change, so an entry names the module that knows its kind.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.errors import ChaosError, unknown
from chaoskit.pids import Pid, end_by_pidfile, family, signal_all

Facts = dict[str, Any]
Undo = Callable[[Facts], None]


def _undo_process(facts: Facts) -> None:
    first = signal.Signals[facts.get("signal", "SIGTERM")]
    known = Pid(facts["pid"], facts["start"]) if "pid" in facts else None
    end_by_pidfile(Path(facts["pidfile"]), known, first=first, grace=facts.get("grace", 1.0))


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


def _undo_file(facts: Facts) -> None:
    Path(facts["path"]).unlink(missing_ok=True)


def _undo_signal(facts: Facts) -> None:
    leader = Pid(facts["pid"], facts["start"])
    if leader.alive():
        signal_all(reversed(family(leader)), signal.SIGCONT)


KINDS: dict[str, Undo] = {
    "process": _undo_process,  # {name, pidfile, signal="SIGTERM", grace=1.0; noted: pid, start}: end the process
    "folder": _undo_folder,  # {path}: remove the folder
    "file": _undo_file,  # {path}: remove the file
    "signal": _undo_signal,  # {pid, start}: let a stopped process and its descendants go on
}
LASTING = {"process", "folder", "file"}
"""Kinds whose changes belong to the run: made while a fault is injected, they still do not end with it."""

MARGIN = 10.0
"""Seconds that a change may outlive its fault's window: more than an engine that is alive is ever late."""


def register_kind(kind: str, undo: Undo, *, lasting: bool = False) -> None:
    """Teach the journal to undo entries of a further kind. Raises ChaosError when the name is taken.

    Importing the module of ``undo`` must register the kind: another process learns it that way. Entries made
    while a fault is injected end with the fault's lease, unless they are ``lasting``.
    """
    if KINDS.setdefault(kind, undo) is not undo:
        raise ChaosError(f"two ways to undo journal entries of the kind {kind!r}")
    if lasting:
        LASTING.add(kind)


@dataclass(frozen=True)
class Entry:
    """One change that is not undone yet.

    ``until`` (monotonic seconds) is when it is undone even if its owner does nothing. ``home`` is the module, or
    the file of a project's own plug-in, that knows the kind; empty for kinds that everyone knows.
    """

    kind: str
    facts: Facts
    until: float | None = None
    home: str = ""

    def __str__(self) -> str:
        name = self.facts.get("name") or self.facts.get("path") or self.facts.get("pid") or ""
        return f"{self.kind} {name}".strip()

    def undo(self) -> None:
        """Undo it. Raises ChaosError for a kind that nobody knows, and whatever the undoing raises."""
        if self.kind not in KINDS and self.home:
            _import(self.home)
        if self.kind not in KINDS:
            raise ChaosError(unknown("kind of journal entry", self.kind, KINDS))
        KINDS[self.kind](self.facts)


def home_of(kind: str) -> str:
    """What an entry of ``kind`` says as its ``home``."""
    name = KINDS[kind].__module__
    if name == __name__:
        return ""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    # A plug-in of the project's own folder, and a script, cannot be imported by name elsewhere.
    if "__plugins__" in name or spec is None:
        return str(getattr(sys.modules.get(name), "__file__", "") or "")
    return name


def _import(home: str) -> None:
    try:
        if not home.endswith(".py"):
            importlib.import_module(home)
            return
        spec = importlib.util.spec_from_file_location(f"_chaoskit_undo_{Path(home).stem}", home)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except Exception as error:  # a project's own code may raise anything
        raise ChaosError(f"{home}, which knows how to undo it, cannot be imported: {error}") from error


_lease: ContextVar[float | None] = ContextVar("chaoskit_lease", default=None)


@contextlib.contextmanager
def lease(until: float | None) -> Iterator[None]:
    """What this thread journals inside the block is lifted at ``until`` (monotonic s), whatever becomes of us."""
    token = _lease.set(until)
    try:
        yield
    finally:
        _lease.reset(token)


def lease_end() -> float | None:
    """When what is changed now is lifted (monotonic s); None outside of :func:`lease`."""
    return _lease.get()
