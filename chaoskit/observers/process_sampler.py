"""Figures of each service's main process: does it give back what it took?"""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from chaoskit.clock import now
from chaoskit.history.rows import Sample
from chaoskit.observers.base import Emit, HasPid, Observer


class ProcessSampler(Observer):
    """Samples ``process.cpu`` (seconds used), ``process.memory`` (resident bytes), ``process.open_files``,
    ``process.threads`` and ``process.pid`` of every service that runs."""

    def __init__(self, services: Sequence[HasPid], emit: Emit, interval: float = 0.2) -> None:
        super().__init__(emit, interval, "process-sampler")
        self._services = services
        self._known: dict[int, psutil.Process] = {}

    def observe(self) -> None:
        """Sample all; a process that has just ended gives nothing, one that may not be read counts as error."""
        for service in self._services:
            pid = service.pid
            if pid is None:
                continue
            try:
                self._sample(service.name, pid)
            except psutil.NoSuchProcess:  # psutil's ZombieProcess too
                self._known.pop(pid, None)
            except psutil.Error as error:
                self.failed(f"{service.name}: {error}")

    def _sample(self, service: str, pid: int) -> None:
        if pid not in self._known:
            self._known[pid] = psutil.Process(pid)
        process = self._known[pid]
        with process.oneshot():
            cpu = process.cpu_times()
            figures = {
                "process.cpu": cpu.user + cpu.system,
                "process.memory": process.memory_info().rss,
                "process.open_files": process.num_fds(),
                "process.threads": process.num_threads(),
                "process.pid": pid,
            }
        moment = now()
        for name, value in figures.items():
            self.emit(Sample(service=service, name=name, at=moment, value=float(value)))
