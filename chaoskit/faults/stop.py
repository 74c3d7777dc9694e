"""End a service in an orderly way, and start it again at the window's end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.clock import now
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import ServiceName


class Stop(Fault):
    """Ends a service as an operator does (its stop signal, then its grace) and starts it again afterwards.

    Rehearses maintenance of a dependency, or a deployment that scales to zero: work in flight is finished, then
    connections are refused until the window ends. Its supervisor leaves it alone: the death is meant. Its data and
    its address stay.

    Arguments:

    - ``service``: which one.

    Evidence counts the ``stops``: 1 when it ran before and was dead until the window's end. Facts: ``pid`` and
    ``new_pid``, ``exit`` (its status; negative for a signal, -9 where the grace was not enough), ``stopped_after``
    (seconds until it was dead) and ``ready_after`` (seconds from its new start until it was ready). The fault's
    window ends only when the service is ready again; if that fails, the fault is broken.
    """

    service: ServiceName

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Stop it before the window is entered, start it when it is left."""
        service = world.service(self.service)
        pid, began = service.pid, now()
        evidence = Evidence(unit="stops", facts={"pid": pid})
        world.hold(service.start)  # where the start fails, the next scenario shall not suffer
        try:
            if pid is not None:
                service.halt()
                evidence.facts |= {"exit": service.last_exit, "stopped_after": round(now() - began, 3)}
            yield evidence
        finally:
            dead, began = not service.alive(), now()
            if pid is not None:
                service.start()
                evidence.facts |= {"new_pid": service.pid, "ready_after": round(now() - began, 3)}
        evidence.touched = int(pid is not None and dead)
