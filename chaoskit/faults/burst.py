"""More traffic than was ordered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pydantic import Field, model_validator

from chaoskit.base.clock import now
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import OperationName, Rate, problem
from chaoskit.system.undo import lease_end

_serial = itertools.count(1)


class Burst(Fault):
    """Sends extra requests of one operation, on top of its ordinary traffic.

    Rehearses overload: a sale that begins, a client in a retry storm, a limit per user. Does the service shed what
    is too much, with a clear answer, and do all others keep their latency?

    Arguments:

    - ``operation``: the operation of ``traffic:`` to send.
    - ``rate``: extra requests per time (``200/s``) for as long as the window lasts, or
    - ``count``: so many extra requests, all at once when the window opens.

    Evidence counts the extra ``requests`` that were answered, or given up at their time limit, inside the window.
    Facts: ``stream`` (the extra requests' stream in the history) and ``rate`` per second or ``count``.
    """

    operation: OperationName
    rate: Rate | None = None
    count: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.rate is None) == (self.count is None):
            raise problem("a burst has either a rate or a count", ["rate: 200/s", "count: 100"])
        if self.rate == 0:
            raise problem("a burst of 0/s sends nothing")
        return self

    @property
    def target(self) -> str:
        """The operation."""
        return self.operation

    def extra_requests(self, operation: str, seconds: float) -> float:
        """Those of its own operation."""
        if operation != self.operation:
            return 0
        return self.count or (self.rate or 0) * seconds

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Start the extra stream on entering, end it on leaving."""
        from chaoskit.traffic.spec import Stream

        stream = Stream(
            id=f"burst-{self.operation}-{next(_serial)}",
            op=self.operation,
            start=now(),
            rate=self.rate,
            count=self.count,
            until=lease_end() if self.rate is not None else None,
        )
        measure = {"rate": self.rate} if self.rate is not None else {"count": self.count}
        evidence = Evidence(unit="requests", facts={"stream": stream.id, **measure})
        context.start_stream(stream)
        try:
            yield evidence
        finally:
            context.stop_stream(stream.id)
            evidence.touched = context.requests_sent(stream.id)
