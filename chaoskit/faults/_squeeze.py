"""Memory limits that follow what a service uses, and the kernel's own count of whom it has killed for them."""

from __future__ import annotations

import contextlib
import mmap
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaoskit.errors import BrokenError
from chaoskit.faults._cgroup import Group, group, group_of, numbers
from chaoskit.faults._container import container_of, give_back, limits_of, oom_kills, updated
from chaoskit.pids import Pid, identify

if TYPE_CHECKING:
    from chaoskit.journal import Journal
    from chaoskit.services.base import Service
    from chaoskit.services.docker.container import Container

_DOCKERS_LEAST = 6 << 20
"""Docker refuses a limit below 6 MiB."""


class Squeeze(ABC):
    """A memory limit that leaves a service as little as possible. ``lowest`` is the lowest that was set, in bytes."""

    lowest: int | None = None

    @abstractmethod
    def lower(self, headroom: int) -> None:
        """Leave it ``headroom`` bytes more than it uses now, unless less is left already. Called again and again."""

    @abstractmethod
    def lift(self) -> None:
        """Let it take as much as before."""

    @abstractmethod
    def kills(self) -> int:
        """How often the kernel's OOM killer has acted because of the limit."""


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
        yield _Grouped(ours, leader)


class _Grouped(Squeeze):
    """A process of this machine, in a group of our own: there only what it takes from now on counts."""

    def __init__(self, group: Group, leader: Pid) -> None:
        self._group = group
        self._leader = leader

    def lower(self, headroom: int) -> None:
        if self.lowest is None:
            self.lowest = max(mmap.PAGESIZE, headroom)
            if self._group.version == 1:
                self._group.write("memory.limit_in_bytes", self.lowest)
            else:
                with contextlib.suppress(BrokenError):  # a kernel without swap accounting has no such file
                    self._group.write("memory.swap.max", 0)
                self._group.write("memory.max", self.lowest)
            self._group.adopt(self._leader)

    def lift(self) -> None:
        if self._group.version == 1:
            self._group.write("memory.limit_in_bytes", -1)
        else:
            self._group.write("memory.max", "max")

    def kills(self) -> int:
        return numbers(self._group.path, "memory.events", "memory.oom_control").get("oom_kill", 0)


class _Contained(Squeeze):
    """A container, by way of the daemon. Its kills are the daemon's events, which outlast the container's group."""

    def __init__(self, container: Container, pid: int, before: dict[str, int]) -> None:
        self._container = container
        self._pid = pid
        self._before = before
        self._began = time.time()

    def lower(self, headroom: int) -> None:
        used = self._used()
        if used is None:
            return
        # Less than it uses: the kernel first takes back what it can read again from disk. Version 1 refuses if that
        # is not enough; then as much as it uses, and the next page is too many.
        wanted = [used + headroom] if headroom else [used - used // 50, used]
        for limit in (max(_DOCKERS_LEAST, size) // mmap.PAGESIZE * mmap.PAGESIZE for size in wanted):
            if self.lowest is not None and limit >= self.lowest:
                continue
            with contextlib.suppress(BrokenError):
                self._container.update(mem_limit=limit, memswap_limit=limit)
                self.lowest = limit
                return

    def lift(self) -> None:
        give_back(self._container.id, self._container.name, self._before)

    def kills(self) -> int:
        return oom_kills(self._container, self._began)

    def _used(self) -> int | None:
        """Bytes that count against the limit; None once nobody is there."""
        group = group_of(self._pid, "memory")
        for name in ("memory.current", "memory.usage_in_bytes"):
            with contextlib.suppress(OSError):
                if group is not None:
                    return int((group / name).read_text(encoding="ascii"))
        return None
