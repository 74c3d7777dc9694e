"""Restart a service as a deployment does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from chaoskit.base.clock import now
from chaoskit.faults._background import Background
from chaoskit.faults._life import LifeFault, Wish, living
from chaoskit.language.fault import Evidence, FaultContext

_LOOK = 0.01
"""Seconds between two looks whether the service may run."""


class Restart(LifeFault):
    """Ends a service in an orderly way and starts it again with its data, at the same address.

    Rehearses a deployment or a failover of a dependency: work in flight is finished or refused, callers
    reconnect, and pools throw away the connections that no longer lead anywhere.

    Arguments:

    - ``service``: which one.

    Evidence counts the ``restarts``: 1 when another process answered then. Facts: ``pid`` and ``new_pid``,
    ``exit`` (status of the old one), ``seconds`` (from being told to end until ready again). The fault's window
    ends only when the service is ready; if that fails, the fault is broken. Recovery counts from when it is ready.
    """

    role: ClassVar[str] = "restarts"

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Begin the restart, go on beside it, and see it done before leaving."""
        service = context.service(self.service)
        pid = service.pid
        evidence = Evidence(unit="restarts", facts={"pid": pid})

        def work(stopped: threading.Event) -> None:
            began = now()
            with living(context.journal, service, Wish()) as life:
                over = False
                while not over:
                    with life.lock:
                        if not any(wish.stopped for wish in life.asked()):
                            service.restart()
                            seconds = round(now() - began, 3)
                            evidence.facts |= {"new_pid": service.pid, "exit": service.last_exit, "seconds": seconds}
                            evidence.over = now()
                            return
                    over = stopped.wait(_LOOK)  # a stop whose window has just ended is about to be lifted

        context.hold(service.start)  # where the restart fails, the next scenario shall not suffer
        background = Background(f"restart {self.service}", work)
        try:
            yield evidence
        finally:
            background.stop()
            evidence.touched = int(evidence.facts.get("new_pid") not in (None, pid))
            background.check()
