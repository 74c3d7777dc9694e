"""Control groups of the kernel, versions 1 and 2: which group a process is in, and groups of our own.

A group of ours is journaled before it is made. Undoing it moves its processes back to the group that the first
of them came from.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.system.layers import Layer, State, layer
from chaoskit.system.pids import Pid, family, identify
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal

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


PERIOD = 100_000
"""Microseconds of one period of the scheduler, in which a group may use its quota."""

Limits = Mapping[str, int]
"""What one fault grants at most: ``cpu`` (microseconds of CPU time in a :data:`PERIOD`), ``memory`` (bytes)."""


def tightest(name: str, asked: Sequence[Limits]) -> int | None:
    """The lowest limit of that name; None where nobody limits it."""
    return min((limits[name] for limits in asked if name in limits), default=None)


class Group(State):
    """A control group of our own for a service: all faults that need one of the same hierarchy share it.

    The tightest of their limits counts. Raises BrokenError when it cannot be made.

    Version 1: below the group that ``leader`` (where there is none: chaoskit) is in, so that limits above go on to
    count. Version 2: at the top, for there a group may not hold processes and groups at the same time.
    """

    def __init__(self, journal: Journal, controller: Controller, leader: Pid | None) -> None:
        super().__init__(journal)
        pid = os.getpid() if leader is None else leader.pid
        mount, home = _mount(controller), group_of(pid, controller)
        if mount is None or home is None:
            raise BrokenError(f"process {pid} is in no control group for {controller} that can be seen here")
        self.version = mount[0]
        self.path = (home if self.version == 1 else mount[1]) / f"chaoskit-{os.getpid()}-{next(_serial)}"
        self._mount, self._home = mount[1], home
        self._limited: set[str] = set()

    def begin(self) -> None:
        self.note("cgroup", root=self._mount, group=self.path, home=self._home)
        try:
            self.path.mkdir()
        except OSError as error:
            raise BrokenError(f"cannot make the control group {self.path}: {error.strerror}") from error

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

    def set(self, asked: Sequence[Limits]) -> None:
        self._limited.update(*asked)
        for name in self._limited:
            self._limit(name, tightest(name, asked))

    def _limit(self, name: str, most: int | None) -> None:
        match name, self.version:
            case "cpu", 1:
                self._write("cpu.cfs_period_us", PERIOD)
                self._write("cpu.cfs_quota_us", -1 if most is None else most)
            case "cpu", _:
                self._write("cpu.max", f"{'max' if most is None else most} {PERIOD}")
            case _, 1:
                self._write("memory.limit_in_bytes", -1 if most is None else most)
            case _:
                with contextlib.suppress(BrokenError):  # a kernel without swap accounting has no such file
                    self._write("memory.swap.max", "max" if most is None else 0)
                self._write("memory.max", "max" if most is None else most)

    def _write(self, file: str, value: int | str) -> None:
        try:
            (self.path / file).write_text(str(value), encoding="ascii")
        except OSError as error:
            raise BrokenError(f"cannot write {value} to {self.path / file}: {error.strerror}") from error


def grouped(
    journal: Journal, service: Service, controller: Controller, limits: Limits | None = None
) -> AbstractContextManager[Layer[Group]]:
    """A service's group for the length of a block; whoever is to be in it must be adopted."""
    pid = service.pid
    leader = identify(pid) if pid is not None else None
    mount = _mount(controller)
    key = ("cgroup", service.name, mount and mount[1])  # of version 2 there is one hierarchy for all controllers
    return layer(journal, key, limits or {}, lambda: Group(journal, controller, leader))
