"""``timeout``: swallows data."""

from __future__ import annotations

from math import inf
from time import monotonic

from chaoskit.toxiproxy.server.toxics.base import Steps, Stub, Toxic, next_before


class Timeout(Toxic):
    """Drops all data; closes the connection when none has come for ``timeout`` milliseconds (0: never).

    Removing it closes every connection: what was dropped is missing in their streams.
    """

    ATTRIBUTES = ("timeout",)
    CLOSES_WHEN_REMOVED = True
    timeout = 0

    def run(self, stub: Stub) -> Steps:  # noqa: ARG002 - nothing is passed on
        """Drop until it is quiet."""
        patience = self.timeout / 1000 if self.timeout > 0 else inf
        while (yield next_before(monotonic() + patience)) is not None:
            pass
