"""What walks through a chain of toxics."""

from __future__ import annotations


class Chunk:
    """Bytes that were read together. ``at`` is when (monotonic seconds); a latency toxic moves it on, so that
    two of them in a row add up."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: float) -> None:
        self.data = data
        self.at = at
