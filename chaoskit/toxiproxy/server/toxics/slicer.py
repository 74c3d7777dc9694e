"""``slicer``: cuts data into small pieces."""

from __future__ import annotations

from random import Random
from time import monotonic

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep


class Slicer(Toxic):
    """Cuts chunks into pieces of about ``average_size`` ± ``size_variation`` bytes, ``delay`` µs apart."""

    ATTRIBUTES = ("average_size", "size_variation", "delay")
    average_size = 0
    size_variation = 0
    delay = 0

    def check(self, values: dict[str, int]) -> str | None:
        """Sizes that would cut without end are refused (the original up to 2.12 dies of them)."""
        size = values.get("average_size", self.average_size)
        variation = values.get("size_variation", self.size_variation)
        if size <= 0:
            return "average_size must be greater than 0"
        if not 0 <= variation <= size:
            return "size_variation must be between 0 and average_size"
        return None

    def run(self, stub: Stub) -> Steps:
        """Emit piece by piece, with a pause after each."""
        while (chunk := (yield NEXT)) is not None:
            done = 0
            try:
                for cut in self._cuts(0, len(chunk.data), stub.random):
                    piece, done = chunk.data[done:cut], cut
                    stub.emit(Chunk(piece, chunk.at))
                    yield sleep(monotonic() + self.delay / 1e6)
            finally:
                if done < len(chunk.data):
                    stub.emit(Chunk(chunk.data[done:], chunk.at))

    def _cuts(self, start: int, end: int, random: Random) -> list[int]:
        """Where to cut: halve, a little beside the middle, until the parts are small enough."""
        if end - start - self.average_size <= self.size_variation:
            return [end]
        middle = start + (end - start) // 2
        if self.size_variation > 0:
            middle += random.randrange(2 * self.size_variation) - self.size_variation
        return self._cuts(start, middle, random) + self._cuts(middle, end, random)
