"""Control groups of the kernel, versions 1 and 2: which group a process is in, and groups of our own.

A group of ours is journaled before it is made. Undoing it moves its processes back to the group that the first
of them came from.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chaoskit.clock import wait_for
from chaoskit.errors import BrokenError
from chaoskit.pids import Pid, family
from chaoskit.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.journal import Journal

Controller = Literal["cpu", "memory", "unified"]
"""``unified`` is the version 2 hierarchy as such: it groups processes, and needs no controller."""

_serial = itertools.count(1)


def _undo(facts: Facts) -> None:
    group, home = Path(facts["group"]), Path(facts["home"])

    def emptied() -> bool:
        with contextlib.suppress(FileNotFoundError):
            for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
                with contextlib.suppress(OSError):  # gone meanwhile; the kernel says ESRCH
                    (home / "cgroup.procs").write_text(pid, encoding="ascii")
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # one was forked meanwhile, or one that died is not quite gone
        return True

    wait_for(emptied, what=f"the control group {group} to be empty", limit=5.0)


register_kind("cgroup", _undo, path="group")  # {group, home}: move its processes home and remove it


@functools.cache
def _mount(controller: Controller) -> tuple[int, Path, str] | None:
    """Version of the hierarchy that a controller is in, where it is mounted, and which of its folders that shows."""
    second = None
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words, _, rest = line.partition(" - ")
        _, _, _, shown, place, *_ = words.split()
        kind, _, options = rest.split()
        if kind == "cgroup" and controller in options.split(","):
            return 1, Path(place), shown
        if kind == "cgroup2" and (controller == "unified" or controller in _words(Path(place, "cgroup.controllers"))):
            second = 2, Path(place), shown
    return second


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def group_of(pid: int, controller: Controller) -> Path | None:
    """The folder of the group that a process is in, or None when it cannot be seen from here."""
    mount = _mount(controller)
    if mount is None:
        return None
    version, place, shown = mount
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        mine = number == "0" if version == 2 else controller in controllers.split(",")
        if mine:
            folder = place / path.removeprefix(shown if shown != "/" else "").lstrip("/")
            return folder if folder.is_dir() else None
    return None


def relative(group: Path) -> str:
    """A group of the version 2 hierarchy as iptables names it."""
    mount = _mount("unified")
    assert mount is not None, "it is in that hierarchy"
    return str(group.relative_to(mount[1]))


def numbers(group: Path, *files: str) -> dict[str, int]:
    """The ``name value`` lines of the first of a group's ``files`` that is there; nothing once the group is gone."""
    for name in files:
        with contextlib.suppress(OSError):
            lines = (group / name).read_text(encoding="ascii").splitlines()
            return {key: int(value) for key, _, value in (line.partition(" ") for line in lines)}
    return {}


@functools.cache
def cannot_group() -> str:
    """Why processes cannot be put into groups of our own here; empty if they can."""
    for controller in ("cpu", "memory"):
        mount = _mount(controller)
        if mount is None:
            return f"this kernel offers no control group for {controller}"
        version, place, _ = mount
        if version == 2 and controller not in _words(place / "cgroup.subtree_control"):
            return f"the controller {controller} is not enabled below {place}"
        if not os.access(place, os.W_OK) or os.statvfs(place).f_flag & os.ST_RDONLY:
            return f"{place} cannot be written: run as root, outside of a container or in a privileged one"
    return ""


@functools.cache
def cannot_mark() -> str:
    """Why processes cannot be put into a group of the version 2 hierarchy here; empty if they can."""
    mount = _mount("unified")
    if mount is None:
        return "no control groups of version 2 are mounted"
    writable = os.access(mount[1], os.W_OK) and not os.statvfs(mount[1]).f_flag & os.ST_RDONLY
    return "" if writable else f"{mount[1]} cannot be written"


class Group:
    """A control group of our own. Raises BrokenError when it cannot be made.

    Version 1: below the group that ``leader`` is in, so that limits above go on to count. Version 2: at the top,
    for there a group may not hold processes and groups at the same time.
    """

    def __init__(self, journal: Journal, controller: Controller, leader: Pid) -> None:
        mount, home = _mount(controller), group_of(leader.pid, controller)
        if mount is None or home is None:
            raise BrokenError(f"process {leader.pid} is in no control group for {controller} that can be seen here")
        self.version = mount[0]
        self.path = (home if self.version == 1 else mount[1]) / f"chaoskit-{os.getpid()}-{next(_serial)}"
        self._journal = journal
        self._entry = journal.add("cgroup", root=mount[1], group=self.path, home=home)
        try:
            self.path.mkdir()
        except OSError as error:
            journal.done(self._entry)
            raise BrokenError(f"cannot make the control group {self.path}: {error.strerror}") from error

    def write(self, file: str, value: int | str) -> None:
        """Write a setting. Raises BrokenError when the kernel refuses it."""
        try:
            (self.path / file).write_text(str(value), encoding="ascii")
        except OSError as error:
            raise BrokenError(f"cannot write {value} to {self.path / file}: {error.strerror}") from error

    def adopt(self, leader: Pid) -> set[int]:
        """Move a process in, with all its descendants, and tell which; those in already, or dead, do not matter."""
        inside = set(self.members())
        while more := [pid for pid in family(leader) if pid.pid not in inside]:
            for pid in more:
                with contextlib.suppress(OSError):  # dead meanwhile, or a zombie
                    (self.path / "cgroup.procs").write_text(str(pid.pid), encoding="ascii")
                inside.add(pid.pid)
        return inside

    def members(self) -> Iterable[int]:
        """The processes in it."""
        return map(int, _words(self.path / "cgroup.procs"))

    def remove(self) -> None:
        """Move its processes back, and remove it."""
        self._journal.undo(self._entry)


@contextlib.contextmanager
def group(journal: Journal, controller: Controller, leader: Pid) -> Iterator[Group]:
    """A group of our own for the length of a block; it is empty at first."""
    made = Group(journal, controller, leader)
    try:
        yield made
    finally:
        made.remove()
