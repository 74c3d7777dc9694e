"""Take a service's memory away until the kernel kills it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaoskit.base.clock import now
from chaoskit.faults._background import Background
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults._memory_limit import Squeeze, squeeze
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, Size

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service

_LOOK = 0.02
"""Seconds between two steps: lower the limit to what is used, see whether it was killed."""


class Oom(Fault):
    """Lowers a service's memory limit to what it uses, until its next allocation makes the kernel's OOM killer act.

    Rehearses a memory limit set too low and a leak at its end: SIGKILL without warning, in the middle of work.
    Unlike ``kill`` it is the kernel that decides, and it may choose a child of the service, not its main process.

    Arguments:

    - ``service``: which one. It must be allocating: a service that does nothing is not killed.
    - ``headroom``: memory that it may still take; 0B unless given.

    Once the kernel has killed, the limit is lifted, so that the service can come back. A service whose restart policy
    is ``never`` stays dead until the scenario has ended; then it is started again.

    Containers: ``docker update``; the limit goes no lower than Docker's 6 MiB. Processes of this machine: a control
    group of our own, for which root is needed. It counts the memory taken from now on, not what they had before.

    Evidence counts the ``kills`` of the kernel's OOM killer, as its own counter and the daemon's events tell. Facts:
    ``exit`` (status of the main process if it ended: -9, or 137 in a container), ``limit`` (the lowest that was
    set, in bytes), ``killed_after`` (seconds) and ``pid``.
    """

    service: ServiceName
    headroom: Size = 0.0

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @property
    def to_ask(self) -> str:
        """For what it needs beyond the limit."""
        return f"does {self.service} take more memory"

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes without control groups."""
        return None if setting.runtime == "docker" else lacking("root", "cgroups")

    def died_of_it(self, status: int) -> bool:  # noqa: ARG002
        """With any status: the kernel may choose a child, and the main process then ends as it likes."""
        return True

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Lower the limit beside the scenario, step by step; lift it after the kill, or at the window's end."""
        service = context.service(self.service)
        evidence = Evidence(unit="kills", facts={"pid": service.pid})
        if service.pid is None:
            yield evidence
            return
        context.hold(service.start)
        with contextlib.ExitStack() as stack:
            limit = stack.enter_context(squeeze(context.journal, service))
            limit.lower(int(self.headroom))
            course = _Course(self, service, limit)
            background = Background(f"oom {self.service}", course.run)
            try:
                yield evidence
            finally:
                background.stop()
                evidence.touched = limit.kills()
                evidence.facts |= {"limit": limit.lowest, "killed_after": course.killed_after}
                if service.pid != evidence.facts["pid"]:
                    evidence.facts["exit"] = service.last_exit
                stack.close()
                background.check()


class _Course:
    """Lowers the limit, and lifts it once somebody was killed."""

    def __init__(self, fault: Oom, service: Service, limit: Squeeze) -> None:
        self._headroom = int(fault.headroom)
        self._service = service
        self._pid = service.pid
        self._limit = limit
        self._began = now()
        self.killed_after: float | None = None

    def run(self, stopped: threading.Event) -> None:
        """One step after the other, until it was killed or the window ends."""
        while not stopped.wait(_LOOK):
            if self._limit.kills():
                self.killed_after = round(now() - self._began, 3)
                self._limit.lift()
                return
            if self._service.pid == self._pid:
                self._limit.lower(self._headroom)
