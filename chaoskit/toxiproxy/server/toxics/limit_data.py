"""``limit_data``: ends a connection after a number of bytes."""

from __future__ import annotations

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic


class LimitData(Toxic):
    """Lets ``bytes`` bytes through, counted per connection from when the toxic came; cuts there and closes.

    0 closes at the first chunk.
    """

    ATTRIBUTES = ("bytes",)
    bytes = 0

    def run(self, stub: Stub) -> Steps:
        """Pass on what is left of the allowance."""
        while (chunk := (yield NEXT)) is not None:
            left = max(0, self.bytes - stub.memory)
            part = chunk.data[:left]
            if part:
                stub.memory += len(part)
                stub.emit(Chunk(part, chunk.at))
            if stub.memory >= self.bytes:
                return
