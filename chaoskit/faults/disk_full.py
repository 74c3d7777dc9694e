"""Fill the file system that a service writes to."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from chaoskit.base import units
from chaoskit.base.errors import BrokenError
from chaoskit.faults._container import container_of
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults._mounts import fill, is_full, mount_tmpfs, mounts_in, source_of
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, Size, problem
from chaoskit.system.layers import State, asked, layer
from chaoskit.system.pids import Pid, identify

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal

_FILLER = ".chaoskit-filler"
_ROOM = 4 << 20
"""Bytes that a copy takes more than its files, in pages and folders."""

_MOST_LIMIT = 4 << 30

_serial = itertools.count(1)


def _folder(path: str) -> str:
    if not path or ".." in PurePosixPath(path).parts or PurePosixPath(path) == PurePosixPath("/"):
        raise problem(f"{path!r} is no folder of a service", ["/var/lib/data", "uploads"])
    return path


def _bounded(limit: float) -> float:
    if limit > _MOST_LIMIT:
        raise problem("the limit is at most 4GiB")
    return limit


class DiskFull(Fault):
    """Leaves no room on the file system below a folder of a service: writes fail with "No space left on device".

    Rehearses logs that nobody rotates, an upload folder, a database that has outgrown its volume: are writes refused
    in an orderly way, is nothing half-written taken for whole, does it go on by itself once there is room again?

    Arguments:

    - ``service``: which one.
    - ``path``: its folder: absolute, or relative to its working folder.
    - ``limit``: the most that may be written to fill it, and the most that is copied; 256MB unless given.

    The machine's own disk is never filled, so the folder must lie on a file system of its own that has no more room
    than ``limit``:

    - Container: a tmpfs or a volume of limited size, mounted at or above the folder. Without one, the fault is broken.
    - Process of this machine: such a file system if there is one, else a full tmpfs is laid over the folder for the
      window, with a copy of what is in it. The folder must be inside the service's working folder or its own. What
      the service holds open already is still beneath and is not full; what it changes in the copy is gone afterwards.

    Where several overlap on one file system, there is room again when the last of them ends.

    Needs root. Evidence counts the ``files`` and folders that somebody tried to write to while there was no room (the
    kernel notes the time of a write before it fails). Facts: ``bytes`` written to fill it, ``full``: whether a write
    of ours failed for lack of room at the beginning and at the end (if not at the beginning, the fault is broken).
    """

    service: ServiceName
    path: Annotated[str, AfterValidator(_folder)]
    limit: Annotated[Size, AfterValidator(_bounded)] = 256e6

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @property
    def to_ask(self) -> str:
        """For who writes there."""
        return f"does {self.service} write to {self.path}"

    def refusal(self, setting: Setting) -> Refusal | None:  # noqa: ARG002  # the same for both runtimes
        """Without root."""
        return lacking("root")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Fill it on entering, make room on leaving."""
        service = context.service(self.service)
        pid = service.pid
        main = identify(pid) if pid is not None else None
        evidence = Evidence(unit="files", facts={"bytes": 0})
        if main is None:
            yield evidence
            return
        root = Path(f"/proc/{main.pid}/root") if container_of(service) is not None else Path("/")
        folder = self._reach(service, main, root)
        key = _key(context.journal, folder, root)
        with layer(
            context.journal, key, True, lambda: _Full(context.journal, self, service, main, folder, root)
        ) as full:
            evidence.facts["bytes"] = full.state.written
            before = _times(folder)
            try:
                yield evidence
            finally:
                after = _times(folder)
                evidence.touched = sum(before.get(name) != moment for name, moment in after.items())
                evidence.facts["full"] = is_full(full.state.filler) if folder.is_dir() else False

    def _reach(self, service: Service, main: Pid, root: Path) -> Path:
        """The folder, as we reach it."""
        try:
            inside = Path(f"/proc/{main.pid}/cwd").readlink() / self.path
            folder = root / str(inside).lstrip("/")
            if container_of(service) is not None:
                _check_no_link(root, folder)
            if not folder.is_dir():
                raise BrokenError(f"{self.service} has no folder {inside}")
        except (FileNotFoundError, ProcessLookupError, PermissionError) as error:
            raise BrokenError(f"cannot reach the files of {self.service}: {error}") from error
        return folder


def _key(journal: Journal, folder: Path, root: Path) -> Hashable:
    """What is filled: a file system of its own, or what is laid over a folder, in which this one may be."""
    for place in (folder, *folder.parents):
        if asked(journal, ("disk", place)):
            return "disk", place
    return ("disk", folder.stat().st_dev) if _is_own(folder, root) else ("disk", folder)


class _Full(State):
    """A folder without room while any fault asks for that; ``written`` bytes have filled it."""

    def __init__(
        self, journal: Journal, fault: DiskFull, service: Service, main: Pid, folder: Path, root: Path
    ) -> None:
        super().__init__(journal)
        self._fault = fault
        self._service = service
        self._main = main
        self._folder = folder
        self._root = root
        self.filler = folder / f"{_FILLER}-{os.getpid()}-{next(_serial)}"
        self.written = 0

    def begin(self) -> None:
        self._find_room()
        holder = self._main if container_of(self._service) is not None else None
        facts = {"pid": holder.pid if holder else None, "start": holder.start if holder else None}
        self.note("filler", root=self._folder, path=self.filler, **facts)
        self.written = fill(self.filler, int(self._fault.limit) + 1)
        if not is_full(self.filler):
            raise BrokenError(f"{self._folder} is not full after {self.written} bytes")

    def set(self, asked: Sequence[Any]) -> None:
        """Filled by the first, it stays so."""

    def _find_room(self) -> None:
        """A file system that can be filled: the folder's own, or one over it."""
        room, limit = _room(self._folder), self._fault.limit
        own = _is_own(self._folder, self._root)
        if own and room <= limit:
            return
        if container_of(self._service) is None:
            _check_inside(self._folder, self._service, self._main)
            self._lay_over(limit)
            return
        what = (
            f"has {units.format_size(room)} free" if own else "lies on the container's own disk, which is the machine's"
        )
        hint = f"mount a tmpfs or a volume of at most {units.format_size(limit)} there"
        inside = self._folder.relative_to(self._root)
        raise BrokenError(f"/{inside} of {self._service.name} {what}: {hint}")

    def _lay_over(self, limit: float) -> None:
        """A tmpfs over the folder, with a copy of what is in it."""
        folder = self._folder
        if inner := mounts_in(folder):
            raise BrokenError(f"{inner[0]}, which is in {folder}, is a file system of its own: it would be hidden")
        used = sum(entry.lstat().st_blocks * 512 for entry in folder.rglob("*"))
        if used > limit:
            raise BrokenError(f"{folder} holds {units.format_size(used)}, more than this fault may copy: see limit")
        beneath = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.note("mount", root=folder.parent, path=folder, source=source_of(self.journal))
            mount_tmpfs(self.journal, folder, used + _ROOM)
            copied = subprocess.run(
                ["cp", "-a", f"/proc/self/fd/{beneath}/.", str(folder)],
                pass_fds=[beneath],
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            os.close(beneath)
        if copied.returncode != 0:
            raise BrokenError(f"cannot copy what is in {folder}: {copied.stderr.strip()}")


def _is_own(folder: Path, root: Path) -> bool:
    """Whether it lies on another file system than what is around it."""
    return folder.stat().st_dev != root.stat().st_dev


def _check_inside(folder: Path, service: Service, main: Pid) -> None:
    real, places = folder.resolve(), [Path(f"/proc/{main.pid}/cwd").resolve(), service.folder.resolve()]
    if not any(place in real.parents for place in places):
        where = " or ".join(map(str, places))
        raise BrokenError(f"{real} is not inside {where}: others may write there, so it is not filled")


def _check_no_link(root: Path, folder: Path) -> None:
    """An absolute link would lead us from the container's files to the machine's."""
    place = folder
    while place != root:
        if place.is_symlink():
            raise BrokenError(f"/{place.relative_to(root)} is a symbolic link: name the folder that it leads to")
        place = place.parent


def _room(folder: Path) -> int:
    seen = os.statvfs(folder)
    return seen.f_bavail * seen.f_frsize


def _times(folder: Path) -> dict[str, int]:
    """When each file and folder was last written to, in ns of the wall clock; what is gone meanwhile is left out."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (place, *(f"{place}/{name}" for name in names)):
            with contextlib.suppress(OSError):
                found[path] = os.lstat(path).st_mtime_ns
    return found
