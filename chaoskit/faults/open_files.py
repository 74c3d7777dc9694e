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
from chaoskit.faults._prlimit import Limit, lowered
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, problem
from chaoskit.system.layers import Layer
from chaoskit.system.pids import Pid, family, identify

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
    started anew meanwhile have the limit they always had. Where several overlap, the lowest limit counts. Another
    user's processes need root with CAP_SYS_RESOURCE.

    Evidence counts the ``handles`` that the service has opened under the limit: the most that were open at one of the
    looks (each 5 ms), beyond those open before, while no other fault had set a lower limit. Facts: ``processes``
    limited, and for the one that opened most: ``limit``, ``left`` (how many it could open), ``used`` (how many it has
    opened) and ``exhausted`` (how many looks saw at most one left: where it is 0, the service has got by with what
    there was).
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

    @property
    def to_ask(self) -> str:
        """For what it opens."""
        return f"does {self.service} open files or connections"

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Lower the limit on entering, restore it on leaving."""
        service = context.service(self.service)
        pid = service.pid
        leader = identify(pid) if pid is not None else None
        members = family(leader) if leader is not None else []
        tables = []
        with contextlib.ExitStack() as stack:
            for member in members:
                limit = self._limit(member)
                lower = stack.enter_context(lowered(context.journal, member, resource.RLIMIT_NOFILE, limit))
                tables.append(_Table(member, lower))
            evidence = Evidence(unit="handles", facts={"processes": len(tables)})
            background = Background(f"open_files {self.service}", lambda stopped: _watch(tables, stopped))
            try:
                yield evidence
            finally:
                background.stop()
                evidence.touched = sum(table.used for table in tables)
                for table in sorted(tables, key=lambda table: table.used)[-1:]:
                    evidence.facts |= table.facts()
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


class _Table:
    """What becomes of the handles that were left to one process."""

    def __init__(self, process: Pid, lower: Layer[Limit]) -> None:
        self._process = process
        self._lower = lower
        self._limit = limit = lower.ask
        self._taken = {number for number in _numbers(process) if number < limit}
        self.left = limit - len(self._taken)
        self.used = 0
        self._exhausted = 0

    def look(self) -> None:
        """See how many are in use now."""
        taken = _numbers(self._process) if self._process.alive() else set()
        opened = sum(number < self._limit for number in taken - self._taken)
        if self._limit > min(self._lower.asked()):
            # Another fault has set a lower limit: what is opened meanwhile is opened under that one.
            self._taken = {number for number in taken if number < self._limit}
            return
        self._taken &= taken  # closed meanwhile: its number can be had again
        self.left = max(self.left, self._limit - len(self._taken))
        self.used = max(self.used, opened)
        self._exhausted += bool(self.used) and self._limit - len(taken) <= 1

    def facts(self) -> dict[str, int]:
        """For the evidence."""
        return {"limit": self._limit, "left": self.left, "used": self.used, "exhausted": self._exhausted}


def _watch(tables: list[_Table], stopped: threading.Event) -> None:
    """Look again and again, once more at the end."""
    while True:
        ended = stopped.wait(_LOOK)
        for table in tables:
            table.look()
        if ended:
            return


def _numbers(process: Pid) -> set[int]:
    """The numbers of a process's open files; none once it is gone. Raises BrokenError where they cannot be seen."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return {int(entry.name) for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
    return set()
