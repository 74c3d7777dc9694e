"""Memory limits that follow what a service uses, and the kernel's own count of whom it has killed for them."""

from __future__ import annotations

import contextlib
import mmap
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.errors import BrokenError
from chaoskit.faults._cgroup import Group, group, group_of, numbers
from chaoskit.faults._container import container_of, limits_of, oom_kills, updated
from chaoskit.pids import identify

if TYPE_CHECKING:
    from chaoskit.journal import Journal
    from chaoskit.services.base import Service
    from chaoskit.services.docker.container import Container

_DOCKERS_LEAST = 6 << 20
"""Docker refuses a limit below 6 MiB."""


class Squeeze(ABC):
    """A memory limit that is lowered step by step. ``lowest`` is the lowest that was set, in bytes."""

    lowest: int | None = None

    def lower(self, headroom: int) -> None:
        """Set the limit to what is used now and ``headroom`` bytes more, unless it is lower already."""
        used = self._used()
        if used is None:
            return
        limit = max(self._least(), used + headroom) // mmap.PAGESIZE * mmap.PAGESIZE
        if self.lowest is None or limit < self.lowest:
            try:
                self._set(limit)
            except BrokenError:
                return  # more is used by now than the limit would be; the next step knows better
            self.lowest = limit

    @abstractmethod
    def lift(self) -> None:
        """Let it take as much as before."""

    @abstractmethod
    def kills(self) -> int:
        """How often the kernel's OOM killer has acted because of the limit."""

    @abstractmethod
    def _used(self) -> int | None:
        """Bytes that count against the limit; None once nobody is there."""

    @abstractmethod
    def _set(self, limit: int) -> None:
        """Set the limit, swap included. Raises BrokenError when the kernel cannot."""

    def _least(self) -> int:
        return mmap.PAGESIZE


@contextlib.contextmanager
def squeeze(journal: Journal, service: Service) -> Iterator[Squeeze]:
    """A squeeze of a service for the length of a block. Raises BrokenError when it cannot be made."""
    pid = service.pid
    leader = identify(pid) if pid is not None else None
    if pid is None or leader is None:
        raise BrokenError(f"{service.name} has ended: there is no memory to limit")
    container = container_of(service)
    if container is not None:
        before = limits_of(container, "mem_limit", "memswap_limit")
        with updated(journal, container, **before):
            yield _Contained(container, pid, before)
        return
    with group(journal, "memory", leader) as ours:
        ours.adopt(leader)
        yield _Grouped(ours)


class _Grouped(Squeeze):
    """A process of this machine, in a group of our own."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._names = (
            ("memory.usage_in_bytes", "memory.limit_in_bytes", "-1")
            if group.version == 1
            else ("memory.current", "memory.max", "max")
        )

    def lift(self) -> None:
        self._group.set(self._names[1], self._names[2])

    def kills(self) -> int:
        return numbers(self._group.path, "memory.events", "memory.oom_control").get("oom_kill", 0)

    def _used(self) -> int | None:
        return _number(self._group.path / self._names[0])

    def _set(self, limit: int) -> None:
        if self._group.version == 2:
            with contextlib.suppress(BrokenError):  # a kernel without swap accounting has no such file
                self._group.set("memory.swap.max", 0)
        self._group.set(self._names[1], limit)


class _Contained(Squeeze):
    """A container, by way of the daemon. Its kills are the daemon's events, which outlast the container's group."""

    def __init__(self, container: Container, pid: int, before: dict[str, int]) -> None:
        self._container = container
        self._pid = pid
        self._before = before
        self._began = time.time()

    def lift(self) -> None:
        self._container.update(**self._before)

    def kills(self) -> int:
        return oom_kills(self._container, self._began)

    def _used(self) -> int | None:
        group = group_of(self._pid, "memory")
        if group is None:
            return None
        for name in ("memory.current", "memory.usage_in_bytes"):
            if (found := _number(group / name)) is not None:
                return found
        return None

    def _set(self, limit: int) -> None:
        self._container.update(mem_limit=limit, memswap_limit=limit)

    def _least(self) -> int:
        return _DOCKERS_LEAST


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError:
        return None
