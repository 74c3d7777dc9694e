"""End a service in an orderly way, and start it again at the window's end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from chaoskit.base.clock import now
from chaoskit.faults._life import LifeFault, Wish, living
from chaoskit.language.fault import Evidence, FaultContext


class Stop(LifeFault):
    """Ends a service as an operator does (its stop signal, then its grace) and starts it again afterwards.

    Rehearses maintenance of a dependency, or a deployment that scales to zero: work in flight is finished, then
    connections are refused until the window ends. Its supervisor leaves it alone: the death is meant. Its data and
    its address stay. Where several overlap, it is started again when the last of them ends.

    Arguments:

    - ``service``: which one.

    Evidence counts the ``stops``: 1 when it ran before (or another ``stop`` had ended it) and was dead until the
    window's end. Facts: ``pid`` and ``new_pid``, ``exit`` (its status; negative for a signal, -9 where the grace was
    not enough), ``stopped_after`` (seconds until it was dead) and ``ready_after`` (seconds from its new start until
    it was ready). The fault's window ends only when the service is ready again, where no other keeps it stopped; if
    that fails, the fault is broken.
    """

    role: ClassVar[str] = "stops"

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Stop it before the window is entered, start it when it is left."""
        service = context.service(self.service)
        evidence, began = Evidence(unit="stops", facts={"pid": service.pid}), now()
        context.hold(service.start)  # where the start fails, the next scenario shall not suffer
        with living(context.journal, service, Wish(stopped=True)) as life:
            ended, dead = life.state.ended, False
            if ended is not None:
                stopped_after = round(now() - began, 3)
                evidence.facts |= {"pid": ended, "exit": service.last_exit, "stopped_after": stopped_after}
            try:
                yield evidence
            finally:
                dead, began = ended is not None and not service.alive(), now()
        if ended is not None and (new := service.pid) is not None:
            evidence.facts |= {"new_pid": new, "ready_after": round(now() - began, 3)}
        evidence.touched = int(dead)
