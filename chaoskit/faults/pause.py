"""Let a service hang."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chaoskit.base.clock import now
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName
from chaoskit.system.layers import State, layer

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal


class Pause(Fault):
    """Stops a service's processes (SIGSTOP) for the window and lets them go on afterwards (SIGCONT).

    Rehearses a hang: a long garbage collection, a frozen machine, a deadlock. Connections stay open and are
    accepted (by the kernel), but nothing answers, so only time limits help. A holder of a lease loses it
    without noticing.

    Arguments:

    - ``service``: which one, with all its descendants.

    A process that is started anew meanwhile is not stopped. Where several overlap, it goes on when the last of them
    ends.

    Evidence counts the ``processes`` (main processes: 1, or 0 if there was none to stop) that stood still until
    the window's end. Facts: ``pid``, ``seconds``, and ``gone`` when it was killed meanwhile.
    """

    service: ServiceName

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Stop it on entering, let it go on on leaving."""
        service = context.service(self.service)
        pid, began = service.pid, now()
        evidence = Evidence(unit="processes", facts={"pid": pid})
        with layer(context.journal, ("pause", self.service), pid, lambda: _Paused(context.journal, service)) as mine:
            paused = pid is not None and mine.state.standing == pid
            try:
                yield evidence
            finally:
                gone = service.pid != pid
        evidence.facts["seconds"] = round(now() - began, 3)
        if paused and gone:
            evidence.facts["gone"] = True
        evidence.touched = int(paused)


class _Paused(State):
    """A service that stands still while any fault asks for that, each of the process that it has found."""

    def __init__(self, journal: Journal, service: Service) -> None:
        super().__init__(journal)
        self._service = service
        self.standing: int | None = None

    def set(self, asked: Sequence[Any]) -> None:
        # The runtime writes the journal before it stops the first process.
        pid = self._service.pid
        if pid in asked and self._service.pause():
            self.standing = pid
        else:
            self.end()

    def end(self) -> None:
        self._service.resume()
        self.standing = None
