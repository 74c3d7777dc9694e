"""Memory limits that follow what a service uses, and the kernel's own count of whom it has killed for them."""

from __future__ import annotations

import contextlib
import mmap
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError
from chaoskit.faults._cgroup import Group, group_of, grouped, numbers
from chaoskit.faults._container import ContainerLimits, container_of, limited, oom_kills
from chaoskit.system.pids import Pid, identify

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from chaoskit.services.docker.container import Container
    from chaoskit.system.journal import Journal
    from chaoskit.system.layers import Layer

_DOCKERS_LEAST = 6 << 20
"""Docker refuses a limit below 6 MiB."""


class Squeeze(ABC):
    """A memory limit that leaves a service as little as possible. ``lowest`` is the lowest that was set, in bytes."""

    lowest: int | None = None

    def __init__(self, limit: Layer[Any]) -> None:
        self._limit = limit

    @abstractmethod
    def lower(self, headroom: int) -> None:
        """Leave it ``headroom`` bytes more than it uses now, unless less is left already. Called again and again."""

    def lift(self) -> None:
        """Let it take as much as others leave it."""
        self._limit.change({})

    @abstractmethod
    def kills(self) -> int:
        """How often the kernel's OOM killer has acted since this began."""

    def _try(self, sizes: Iterable[int]) -> None:
        """Set the first of the limits, lowest first, that is lower than what was set and that the kernel takes."""
        for limit in sizes:
            if self.lowest is None or limit < self.lowest:
                with contextlib.suppress(BrokenError):
                    self._limit.change({"memory": limit})
                    self.lowest = limit
                    return


@contextlib.contextmanager
def squeeze(journal: Journal, service: Service) -> Iterator[Squeeze]:
    """A squeeze of a service for the length of a block. Raises BrokenError when it cannot be made."""
    pid = service.pid
    leader = identify(pid) if pid is not None else None
    if pid is None or leader is None:
        raise BrokenError(f"{service.name} has ended: there is no memory to limit")
    container = container_of(service)
    if container is not None:
        with limited(journal, service, {}, "mem_limit", "memswap_limit") as limit:
            yield _Contained(limit, container, pid)
        return
    with grouped(journal, service, "memory") as ours:
        yield _Grouped(ours, leader)


class _Grouped(Squeeze):
    """A process of this machine, in a group of our own: there only what it takes from now on counts."""

    def __init__(self, limit: Layer[Group], leader: Pid) -> None:
        super().__init__(limit)
        self._group = limit.state
        self._leader = leader
        self._before = self._counted()

    def lower(self, headroom: int) -> None:
        if self.lowest is None:
            used = used_memory(self._group.path) or 0  # by what another fault has put in
            self._try([max(mmap.PAGESIZE, headroom), used + headroom])
            self._group.adopt(self._leader)

    def kills(self) -> int:
        return self._counted() - self._before

    def _counted(self) -> int:
        return numbers(self._group.path, "memory.events", "memory.oom_control").get("oom_kill", 0)


class _Contained(Squeeze):
    """A container, by way of the daemon. Its kills are the daemon's events, which outlast the container's group."""

    def __init__(self, limit: Layer[ContainerLimits], container: Container, pid: int) -> None:
        super().__init__(limit)
        self._container = container
        self._pid = pid
        self._began = time.time()

    def lower(self, headroom: int) -> None:
        group = group_of(self._pid, "memory")
        used = used_memory(group) if group is not None else None
        if used is None:
            return
        # Less than it uses: the kernel first takes back what it can read again from disk. Version 1 refuses if that
        # is not enough; then as much as it uses, and the next page is too many.
        wanted = [used + headroom] if headroom else [used - used // 50, used]
        self._try(max(_DOCKERS_LEAST, size) // mmap.PAGESIZE * mmap.PAGESIZE for size in wanted)

    def kills(self) -> int:
        return oom_kills(self._container, self._began)


def used_memory(group: Path) -> int | None:
    """Bytes that count against a group's limit; None once it is gone."""
    for name in ("memory.current", "memory.usage_in_bytes"):
        with contextlib.suppress(OSError):
            return int((group / name).read_text(encoding="ascii"))
    return None
