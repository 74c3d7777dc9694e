"""Figures of each service's main process: does it give back what it took?"""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from chaoskit.clock import now
from chaoskit.history.rows import Sample
from chaoskit.observers._own import OwnConnections
from chaoskit.observers.base import Emit, HasPid, Observer


class ProcessSampler(Observer):
    """Samples ``process.cpu`` (seconds used), ``process.memory`` (resident bytes), ``process.open_files``,
    ``process.threads`` and ``process.pid`` of every service that runs. Its connections that are ``own``, chaoskit's,
    are no open files of it."""

    def __init__(
        self, services: Sequence[HasPid], emit: Emit, interval: float = 0.2, own: OwnConnections | None = None
    ) -> None:
        super().__init__(emit, interval, "process-sampler")
        self._services = services
        self._own = own
        self._known: dict[int, psutil.Process] = {}

    def observe(self) -> None:
        """Sample all; a process that has just ended gives nothing, one that may not be read counts as error."""
        countable = True
        if self._own is not None:
            try:
                self._own.look()
            except OSError as error:  # then nobody knows which are ours: no figure is better than a wrong one
                self.failed(f"connections cannot be told apart: {error}")
                countable = False
        for service in self._services:
            pid = service.pid
            if pid is None:
                continue
            try:
                self._sample(service.name, pid, countable=countable)
            except psutil.NoSuchProcess:  # psutil's ZombieProcess too
                self._known.pop(pid, None)
            except psutil.Error as error:
                self.failed(f"{service.name}: {error}")

    def _sample(self, service: str, pid: int, *, countable: bool) -> None:
        if pid not in self._known:
            self._known[pid] = psutil.Process(pid)
        process = self._known[pid]
        own = 0 if self._own is None else self._own.of(service, pid)
        with process.oneshot():
            cpu = process.cpu_times()
            figures = {
                "process.cpu": cpu.user + cpu.system,
                "process.memory": process.memory_info().rss,
                "process.open_files": max(0, process.num_fds() - own),
                "process.threads": process.num_threads(),
                "process.pid": pid,
            }
        if not countable:
            del figures["process.open_files"]
        moment = now()
        for name, value in figures.items():
            self.emit(Sample(service=service, name=name, at=moment, value=float(value)))
