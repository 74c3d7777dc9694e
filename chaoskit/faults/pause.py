"""Let a service hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.clock import now
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import ServiceName


class Pause(Fault):
    """Stops a service's processes (SIGSTOP) for the window and lets them go on afterwards (SIGCONT).

    Rehearses a hang: a long garbage collection, a frozen machine, a deadlock. Connections stay open and are
    accepted (by the kernel), but nothing answers, so only time limits help. A holder of a lease loses it
    without noticing.

    Arguments:

    - ``service``: which one, with all its descendants.

    Evidence counts the ``processes`` (main processes: 1, or 0 if there was none to stop) that stood still until
    the window's end. Facts: ``pid``, ``seconds``, and ``gone`` when it was killed meanwhile.
    """

    service: ServiceName

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Stop it on entering, let it go on on leaving."""
        service = world.service(self.service)
        evidence = Evidence(unit="processes", facts={"pid": service.pid})
        began = now()
        # The runtime writes the journal before it stops the first process.
        paused = service.pause()
        try:
            yield evidence
        finally:
            resumed = service.resume() if paused else False
            evidence.facts["seconds"] = round(now() - began, 3)
            if paused and not resumed:
                evidence.facts["gone"] = True
            evidence.touched = int(paused)
