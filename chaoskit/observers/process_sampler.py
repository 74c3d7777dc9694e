"""Figures of each service's processes: does it give back what it took?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chaoskit.base.clock import now
from chaoskit.history.rows import Sample
from chaoskit.observers._families import Families
from chaoskit.observers._holder import Holder
from chaoskit.observers._own import OwnConnections
from chaoskit.observers.base import Emit, Observer, Watched
from chaoskit.system.pids import Stat

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class ProcessSampler(Observer):
    """Samples ``process.cpu`` (seconds used), ``process.memory`` (resident bytes), ``process.open_files``,
    ``process.threads`` and ``process.pid`` of every service that runs: of all its processes together, but for the pid,
    which is the main one's until another answers (:class:`Holder`). Its connections that are ``own``, chaoskit's, are
    no open files of it."""

    def __init__(
        self, services: Sequence[Watched], emit: Emit, interval: float = 0.2, own: OwnConnections | None = None
    ) -> None:
        super().__init__(emit, interval, "process-sampler")
        self._services = services
        self._own = own
        self._families = Families()
        self._holders: dict[str, Holder] = {}

    def observe(self) -> None:
        """Sample all; a process that has just ended gives nothing, one whose files may not be read counts as error."""
        countable = True
        if self._own is not None:
            try:
                self._own.look()
            except OSError as error:  # then nobody knows which are ours: no figure is better than a wrong one
                self.failed(f"connections cannot be told apart: {error}")
                countable = False
        mains = {service.name: pid for service in self._services if (pid := service.pid) is not None}
        families = self._families.look(mains)
        for service in self._services:
            if stats := families.get(service.name):
                try:
                    self._sample(service, stats, countable=countable)
                except PermissionError as error:
                    self.failed(f"{service.name}: {error}")

    def _sample(self, watched: Watched, stats: Sequence[Stat], *, countable: bool) -> None:
        service, pids, main = watched.name, [stat.pid for stat in stats], stats[0].identity
        figures: dict[str, float] = {
            "process.cpu": sum(stat.ticks for stat in stats) * _TICK,
            "process.memory": _memory(pids),
            "process.threads": sum(stat.threads for stat in stats),
        }
        if countable:
            own = 0 if self._own is None else self._own.of(service, pids)
            figures["process.open_files"] = max(0, sum(map(_open_files, pids)) - own)
        moment = now()
        if not main.alive():  # what was read of it may be nothing
            return
        if service not in self._holders or self._holders[service].main != main:
            self._holders[service] = Holder(watched, main, lambda row: self.emit(row))
        if (pid := self._holders[service].look(stats)) is not None:
            figures["process.pid"] = pid
        for name, value in figures.items():
            self.emit(Sample(service=service, name=name, at=moment, value=float(value)))


def _memory(pids: Sequence[int]) -> int:
    """Resident bytes. What may be the same pages in each of them (files, shared memory) counts once, as much as the one
    has that has most of it."""
    own, shared = 0, 0
    for pid in pids:
        try:
            _, resident, common, *_ = map(int, Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        own, shared = own + resident - common, max(shared, common)
    return (own + shared) * _PAGE


def _open_files(pid: int) -> int:
    """Handles; none when it has ended. Raises PermissionError for another user's."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return sum(1 for _ in entries)
    except (FileNotFoundError, ProcessLookupError):
        return 0
