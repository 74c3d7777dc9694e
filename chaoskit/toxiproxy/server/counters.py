"""What passed through, counted while it passes."""

from __future__ import annotations


class ToxicCount:
    """What one toxic did: connections it acted on, chunks and bytes it was given, connections it ended."""

    __slots__ = ("bytes", "chunks", "connections", "cut")

    def __init__(self) -> None:
        self.connections = 0
        self.chunks = 0
        self.bytes = 0
        self.cut = 0

    def as_dict(self) -> dict[str, int]:
        """The figures by name."""
        return {name: getattr(self, name) for name in ("connections", "chunks", "bytes", "cut")}


class FlowCount:
    """Bytes of one direction: read from the one side, written to the other."""

    __slots__ = ("read", "written")

    def __init__(self) -> None:
        self.read = 0
        self.written = 0


class ProxyCount:
    """Totals of one proxy. Bytes are those of ended connections; the live ones are added when asked for."""

    __slots__ = (
        "downstream",
        "ended_upstream",
        "opened",
        "refused_upstream",
        "requests",
        "reset_upstream",
        "toxics",
        "upstream",
    )

    def __init__(self) -> None:
        self.opened = 0
        self.refused_upstream = 0
        self.requests = 0
        self.ended_upstream = 0
        self.reset_upstream = 0
        self.upstream = FlowCount()
        self.downstream = FlowCount()
        self.toxics: dict[str, ToxicCount] = {}
