"""Fill the file system that a service writes to."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from chaoskit import units
from chaoskit.errors import BrokenError
from chaoskit.faults._container import container_of
from chaoskit.faults._machine import lacking
from chaoskit.faults._mounts import fill, is_full, mount_tmpfs
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.pids import Pid, identify
from chaoskit.scenario.types import ServiceName, Size, problem

if TYPE_CHECKING:
    from chaoskit.journal import Journal
    from chaoskit.scenario.setting import Refusal, Setting
    from chaoskit.services.base import Service

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

    def refusal(self, setting: Setting) -> Refusal | None:  # noqa: ARG002  # the same for both runtimes
        """Without root."""
        return lacking("root")

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Fill it on entering, make room on leaving."""
        service = world.service(self.service)
        pid = service.pid
        main = identify(pid) if pid is not None else None
        evidence = Evidence(unit="files", facts={"bytes": 0})
        if main is None:
            yield evidence
            return
        with contextlib.ExitStack() as stack:
            folder = self._place(service, main, world.journal, stack)
            filler = folder / f"{_FILLER}-{os.getpid()}-{next(_serial)}"
            holder = main if container_of(service) is not None else None
            facts = {"pid": holder.pid if holder else None, "start": holder.start if holder else None}
            stack.callback(world.journal.undo, world.journal.add("filler", root=folder, path=filler, **facts))
            evidence.facts["bytes"] = fill(filler, int(self.limit) + 1)
            if not is_full(filler):
                raise BrokenError(f"{folder} is not full after {evidence.facts['bytes']} bytes")
            before = _times(folder)
            try:
                yield evidence
            finally:
                after = _times(folder)
                evidence.touched = sum(before.get(name) != moment for name, moment in after.items())
                evidence.facts["full"] = is_full(filler) if folder.is_dir() else False

    def _place(self, service: Service, main: Pid, journal: Journal, stack: contextlib.ExitStack) -> Path:
        """The folder, as we reach it, on a file system that can be filled."""
        root = Path(f"/proc/{main.pid}/root") if container_of(service) is not None else Path("/")
        try:
            inside = Path(f"/proc/{main.pid}/cwd").readlink() / self.path
            folder = root / str(inside).lstrip("/")
            if container_of(service) is not None:
                _check_no_link(root, folder)
            if not folder.is_dir():
                raise BrokenError(f"{self.service} has no folder {inside}")
            room, own = _room(folder), folder.stat().st_dev != root.stat().st_dev
        except (FileNotFoundError, ProcessLookupError, PermissionError) as error:
            raise BrokenError(f"cannot reach the files of {self.service}: {error}") from error
        if own and room <= self.limit:
            return folder
        if container_of(service) is None:
            _check_inside(folder, service, main)
            self._lay_over(folder, journal, stack)
            return folder
        what = (
            f"has {units.format_size(room)} free" if own else "lies on the container's own disk, which is the machine's"
        )
        hint = f"mount a tmpfs or a volume of at most {units.format_size(self.limit)} there"
        raise BrokenError(f"{inside} of {self.service} {what}: {hint}")

    def _lay_over(self, folder: Path, journal: Journal, stack: contextlib.ExitStack) -> None:
        """A tmpfs over the folder, with a copy of what is in it."""
        used = sum(entry.lstat().st_blocks * 512 for entry in folder.rglob("*"))
        if used > self.limit:
            raise BrokenError(f"{folder} holds {units.format_size(used)}, more than this fault may copy: see limit")
        beneath = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, beneath)
        stack.callback(journal.undo, mount_tmpfs(journal, folder, used + _ROOM))
        copied = subprocess.run(
            ["cp", "-a", f"/proc/self/fd/{beneath}/.", str(folder)],
            pass_fds=[beneath],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if copied.returncode != 0:
            raise BrokenError(f"cannot copy what is in {folder}: {copied.stderr.strip()}")


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
