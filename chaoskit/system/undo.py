"""How a journaled change is undone, by its *kind*, and until when it may last: its *lease*.

Undoing must be idempotent: it may happen to a change that was never made, or undone already, and by two at once.
The process that undoes need not be the one that made the change. It learns a kind from who *registered* it, a module
of chaoskit or a plug-in that the plug-in loader finds by name; a journal cannot name code in any other way
(docs/decisions/0030-whose-journal-is-believed.md).
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.base.errors import ChaosError, unknown
from chaoskit.base.registry import Plugin, importing, installed_with, is_project_module
from chaoskit.system.pids import Pid, end_by_pidfile, family, signal_all

Facts = dict[str, Any]
Undo = Callable[[Facts], None]

_OURS = __name__.partition(".")[0] + "."


def below(path: str | Path, root: str | Path) -> Path:
    """``path``, if it lies below the folder ``root`` whatever links there are on the way. Raises ChaosError if not.

    ``root`` is as it was when the change was written down, without links: a folder that became one leads elsewhere.
    """
    place = Path(path)
    real = place.parent.resolve() / place.name
    if not root or not place.is_absolute() or place.name == ".." or not real.is_relative_to(root) or real == Path(root):
        raise ChaosError(f"{place} does not lie below {root or 'a folder that its journal names'}; it is not touched")
    return place


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


@dataclass(frozen=True)
class Kind:
    """How changes of one kind are undone.

    ``home`` is who registered it: a module of chaoskit's, a plug-in, None for what only this process knows; the
    empty name for what stands here. A ``lasting`` change belongs to the run: made while a fault is injected, it still
    does not end with it. ``path`` names the fact that must be a path below the entry's root.
    """

    undo: Undo
    home: str | Plugin | None = ""
    lasting: bool = False
    path: str = ""


KINDS: dict[str, Kind] = {
    # {name, pidfile, signal="SIGTERM", grace=1.0; noted: pid, start}: end the process
    "process": Kind(_undo_process, lasting=True, path="pidfile"),
    "folder": Kind(_undo_folder, lasting=True, path="path"),  # {path}: remove the folder
    "file": Kind(_undo_file, lasting=True, path="path"),  # {path}: remove the file
    "signal": Kind(_undo_signal),  # {pid, start}: let a stopped process and its descendants go on
}

MARGIN = 10.0
"""Seconds that a change may outlive its fault's window: more than an engine that is alive is ever late."""


def register_kind(kind: str, undo: Undo, *, lasting: bool = False, path: str = "") -> None:
    """Teach the journal to undo entries of a further kind. Raises ChaosError when the name is taken.

    A plug-in calls it while its module is imported: the guardian and ``chaoskit clean`` learn the kind by loading the
    same plug-in. Entries made while a fault is injected end with the fault's lease, unless they are ``lasting``.
    ``path`` names a fact that is a path: such an entry is only made, and undone, where that lies below its root.
    """
    if KINDS.setdefault(kind, Kind(undo, _home(undo), lasting, path)).undo is not undo:
        both = " and ".join(f"{each.__module__}.{each.__qualname__}" for each in (KINDS[kind].undo, undo))
        raise ChaosError(f"two ways to undo journal entries of the kind {kind!r}: {both}; give one kind another name")


def _home(undo: Undo) -> str | Plugin | None:
    module = undo.__module__
    if module.startswith(_OURS) and not is_project_module(module):
        return module
    return importing() or installed_with(module)


@dataclass(frozen=True)
class Entry:
    """One change that is not undone yet.

    ``until`` (monotonic seconds) is when it is undone even if its owner does nothing. ``home`` is who knows the kind,
    see :class:`Kind`. ``root`` is the folder below which the entry's paths must lie; undoing gets it as a fact.
    """

    kind: str
    facts: Facts
    until: float | None = None
    home: str | Plugin = ""
    root: str = ""

    def __str__(self) -> str:
        name = self.facts.get("name") or self.facts.get("path") or self.facts.get("pid") or ""
        return f"{self.kind} {name}".strip()

    @classmethod
    def make(cls, kind: str, facts: Facts, until: float | None, root: str) -> Entry:
        """An entry for a change that is about to be made, which others could undo too. Raises ChaosError if not."""
        known = _known(kind)
        if known.home is None:
            raise ChaosError(
                f"nobody else could undo {kind!r}: {known.undo.__module__} registers it, which is neither a plug-in in "
                f"the project's plugins folder nor one that is installed with an entry point; move it into one"
            )
        entry = cls(kind, facts, until, known.home, root)
        entry._check(known)
        return entry

    def undo(self) -> None:
        """Undo it. Raises ChaosError for an unknown kind or a path elsewhere, and whatever the undoing raises."""
        if self.kind not in KINDS and self.home:
            _learn(self.home)
        known = _known(self.kind)
        if known.home != self.home and any(
            isinstance(home, Plugin) and home.folder for home in (known.home, self.home)
        ):
            raise ChaosError(f"{self.kind!r} is known here by {known.home}, and it was made by {self.home}")
        self._check(known)
        known.undo({**self.facts, "root": self.root})

    def _check(self, kind: Kind) -> None:
        if kind.path:
            below(str(self.facts[kind.path]), self.root)

    def as_line(self) -> dict[str, Any]:
        """As it stands in the journal."""
        line: dict[str, Any] = {"kind": self.kind, "facts": self.facts, "root": self.root}
        if self.until is not None:
            line["until"] = self.until
        if isinstance(self.home, Plugin):
            line["plugin"] = self.home.as_dict()
        elif self.home:
            line["in"] = self.home
        return line

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Entry:
        """The entry that a line of the journal opens. Raises KeyError, TypeError or ValueError for what is none."""
        home: str | Plugin = Plugin.from_dict(line["plugin"]) if "plugin" in line else line.get("in", "")
        kind, root, until = line["kind"], line.get("root", ""), line.get("until")
        if not (isinstance(kind, str) and isinstance(root, str) and isinstance(home, str | Plugin)):
            raise TypeError("kind, root and in are texts")
        return cls(kind, dict(line["facts"]), None if until is None else float(until), home, root)


def _known(kind: str) -> Kind:
    if kind not in KINDS:
        raise ChaosError(unknown("kind of journal entry", kind, KINDS))
    return KINDS[kind]


def _learn(home: str | Plugin) -> None:
    """Have who registered a kind register it here too."""
    if isinstance(home, str) and not home.startswith(_OURS):
        raise ChaosError(f"{home} is no module of chaoskit's, and no plug-in; it is not run")
    try:
        if isinstance(home, Plugin):
            home.load()
        else:
            importlib.import_module(home)
    except Exception as error:  # a project's own code may raise anything
        raise ChaosError(f"{home}, which knows how to undo it, cannot be loaded: {error}") from error


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
