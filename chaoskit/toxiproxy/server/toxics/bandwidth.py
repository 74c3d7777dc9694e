"""``bandwidth``: limits the rate of data."""

from __future__ import annotations

from math import inf
from time import monotonic

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep

_PIECE = 0.1  # seconds
_LAG = 0.01  # seconds


class Bandwidth(Toxic):
    """Lets ``rate`` kilobytes (1000 bytes) a second through, in pieces of at most 100 ms.

    A rate of 0 (none was given) lets nothing pass until it is changed, nor the end of a stream that waits behind
    data. One below 0 does not limit.
    """

    ATTRIBUTES = ("rate",)
    rate = 0

    def run(self, stub: Stub) -> Steps:
        """Pass each piece on when the line would have carried it."""
        free = 0.0  # when the line has carried all that was passed on
        while (chunk := (yield NEXT)) is not None:
            if self.rate < 0:
                stub.emit(chunk)
                continue
            speed = self.rate * 1000
            piece = int(speed * _PIECE)
            rest = chunk.data
            try:
                if not speed:
                    yield sleep(inf)
                while rest:
                    size = min(piece, len(rest))
                    now = monotonic()
                    # A timer is a little late: counting on from when the line was free keeps the rate exact.
                    free = (free if now - free < _LAG else now) + size / speed
                    yield sleep(free)
                    part, rest = rest[:size], rest[size:]
                    stub.emit(Chunk(part, chunk.at))
            finally:
                if rest:
                    stub.emit(Chunk(rest, chunk.at))
