"""``slow_close``: delays the end of a connection."""

from __future__ import annotations

from time import monotonic

from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep


class SlowClose(Toxic):
    """Passes data at once, and the end of the stream ``delay`` milliseconds late."""

    ATTRIBUTES = ("delay",)
    delay = 0

    def run(self, stub: Stub) -> Steps:
        """Pass on, then wait."""
        while (chunk := (yield NEXT)) is not None:
            stub.emit(chunk)
        yield sleep(monotonic() + self.delay / 1000)
