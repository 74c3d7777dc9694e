"""Restart a service as a deployment does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.clock import now
from chaoskit.faults._background import Background
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import ServiceName


class Restart(Fault):
    """Ends a service in an orderly way and starts it again with its data, at the same address.

    Rehearses a deployment or a failover of a dependency: work in flight is finished or refused, callers
    reconnect, and pools throw away the connections that no longer lead anywhere.

    Arguments:

    - ``service``: which one.

    Evidence counts the ``restarts``: 1 when another process answered at the end. Facts: ``pid`` and ``new_pid``,
    ``exit`` (status of the old one), ``seconds`` (from being told to end until ready again). The fault's window
    ends only when the service is ready; if that fails, the fault is broken.
    """

    service: ServiceName

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Begin the restart, go on beside it, and see it done before leaving."""
        service = world.service(self.service)
        pid = service.pid
        evidence = Evidence(unit="restarts", facts={"pid": pid})

        def work(_stopped: threading.Event) -> None:
            began = now()
            service.restart()
            evidence.facts["seconds"] = round(now() - began, 3)

        world.hold(service.start)  # where the restart fails, the next scenario shall not suffer
        background = Background(f"restart {self.service}", work)
        try:
            yield evidence
        finally:
            background.stop()
            evidence.facts |= {"new_pid": service.pid, "exit": service.last_exit}
            evidence.touched = int(service.pid not in (None, pid))
            background.check()
