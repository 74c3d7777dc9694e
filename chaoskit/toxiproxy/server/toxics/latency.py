"""``latency``: delays data."""

from __future__ import annotations

from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep


class Latency(Toxic):
    """Delays each chunk by ``latency`` ± ``jitter`` milliseconds, counted from when it was read.

    Chunks are delayed side by side, not one after the other, and keep their order. Opening and closing a
    connection are not delayed for themselves.
    """

    ATTRIBUTES = ("latency", "jitter")
    BUFFER = 1024
    latency = 0
    jitter = 0

    def run(self, stub: Stub) -> Steps:
        """Hold each chunk until it is due."""
        while (chunk := (yield NEXT)) is not None:
            delay = self.latency
            if self.jitter > 0:
                delay += stub.random.randrange(2 * self.jitter) - self.jitter
            chunk.at += max(0, delay) / 1000
            try:
                yield sleep(chunk.at)
            finally:
                stub.emit(chunk)
