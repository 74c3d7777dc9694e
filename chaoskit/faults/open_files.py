"""Let a service run out of file handles."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from chaoskit.faults._background import Background
from chaoskit.faults._prlimit import lowered
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.pids import Pid, family, identify
from chaoskit.scenario.types import ServiceName, problem

_LOOK = 0.005
"""Seconds between two looks at the table of open files."""


class OpenFiles(Fault):
    """Lowers a running service's limit of open files (``RLIMIT_NOFILE``), and restores it afterwards.

    Rehearses a leak of handles, or a limit that suits a laptop. New connections, files and pipes fail with "Too many
    open files" (EMFILE); what is open stays open. A server that cannot accept leaves its callers waiting.

    Arguments:

    - ``service``: which one, with all its descendants as they are when the fault begins.
    - ``spare``: how many more files than at this moment each of its processes may open; or
    - ``limit``: the limit itself.

    Handles are numbered from 0, the lowest free number first, and the limit is on the number. Processes that are
    started anew meanwhile have the limit they always had. Another user's processes need root with CAP_SYS_RESOURCE.

    Evidence counts the ``looks`` (each 5 ms, at each process) that saw at most one number free below the limit, in a
    table that had been seen with more under the fault: so the service itself has used them up. (The last number comes
    and goes with each connection, too fast to be seen.) Facts: ``processes`` limited, the ``limit`` of the main
    process, and the ``most`` files that it was seen with.
    """

    service: ServiceName
    spare: int | None = Field(None, ge=0)
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.spare is None) == (self.limit is None):
            raise problem("how many files: either spare or limit", ["spare: 0", "limit: 64"])
        return self

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Lower the limit on entering, restore it on leaving."""
        service = world.service(self.service)
        pid = service.pid
        leader = identify(pid) if pid is not None else None
        members = family(leader) if leader is not None else []
        limits = [(member, self._limit(member)) for member in members]
        evidence = Evidence(unit="looks", facts={"processes": len(limits)})
        watch = _Watch(limits)
        with lowered(world.journal, limits, resource.RLIMIT_NOFILE):
            watch.look()  # how much room we have left it
            background = Background(f"open_files {self.service}", watch.run)
            try:
                yield evidence
            finally:
                background.stop()
                watch.look()
                evidence.touched = watch.full
                if limits:
                    evidence.facts |= {"limit": limits[0][1], "most": watch.most}
                background.check()

    def _limit(self, process: Pid) -> int:
        if self.limit is not None:
            return self.limit
        assert self.spare is not None
        # Counted from the free numbers below the highest one: they are given out first.
        taken, limit = _numbers(process), 0
        free = self.spare
        while free or limit in taken:
            free -= limit not in taken
            limit += 1
        return limit


class _Watch:
    """Sees how full the tables of open files are."""

    def __init__(self, limits: list[tuple[Pid, int]]) -> None:
        self._limits = limits
        self._roomy: set[Pid] = set()
        self.full = 0
        self.most = 0

    def run(self, stopped: threading.Event) -> None:
        """Look again and again."""
        while not stopped.wait(_LOOK):
            self.look()

    def look(self) -> None:
        """One look at each process."""
        for place, (process, limit) in enumerate(self._limits):
            if process.alive():
                taken = _numbers(process)
                if sum(number not in taken for number in range(limit)) > 1:
                    self._roomy.add(process)
                else:
                    self.full += process in self._roomy
                if place == 0:
                    self.most = max(self.most, len(taken))


def _numbers(process: Pid) -> set[int]:
    """The numbers of a process's open files; none once it is gone. Raises BrokenError where they cannot be seen."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return {int(entry.name) for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
    return set()
