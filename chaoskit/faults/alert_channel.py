"""The way from an alert to the people on call, broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.system.undo import lease_end


class AlertChannel(Fault):
    """Fails the delivery of alerts: the sink, which stands for the pager, does not take notifications.

    Rehearses a pager or chat that is down while something is wrong: is the alert delivered again once the channel is
    back, or is it lost? Alertmanager tries again with a growing pause after a 5xx and a broken connection, and not
    after a 4xx; Prometheus by itself does not try again, but sends what still fires once more after its resend delay.

    Arguments:

    - ``mode``: ``refuse`` resets the connection, ``stall`` takes the request and answers nothing until the window
      ends, ``500`` to ``599`` is the status that is answered.
    - ``receiver``: fail only what Alertmanager sends to this receiver of its routing.

    Where several overlap, the one that began first fails a delivery that more than one would fail.

    Evidence counts the ``deliveries`` (requests) that it has failed. Facts: ``mode``.
    """

    mode: Literal["refuse", "stall"] | Annotated[int, Field(ge=500, le=599)]
    receiver: str = ""

    @property
    def target(self) -> str:
        """The channel."""
        return f"alerts to {self.receiver}" if self.receiver else "alerts"

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Fail deliveries on entering, take them again on leaving."""
        sink = context.alerts
        evidence = Evidence(unit="deliveries", facts={"mode": self.mode})
        until = lease_end()
        # The sink lives and dies with this process, so there is nothing for the journal to undo.
        end = sink.fail(self.mode, receiver=self.receiver, until=inf if until is None else until)
        try:
            yield evidence
        finally:
            evidence.touched = end()
