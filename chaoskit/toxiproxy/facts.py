"""What is told to a Toxiproxy server, and what it tells: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chaoskit.history.rows import Connection, Exchange

Attributes = Mapping[str, int | float | str]
"""Of a toxic, in Toxiproxy's units: milliseconds, kilobytes a second, bytes."""


@dataclass(frozen=True)
class Toxic:
    """A toxic as it is asked for. ``toxicity`` is the share of connections that it acts on.

    The original does not know the rest: after ``lease`` seconds the toxic removes itself, and ``connections``
    (``after``, ``every``, ``first``) chooses those that it may act on. ``own`` asks for the embedded server, where
    there are two, as does ``connections``.
    """

    type: str
    attributes: Attributes
    stream: str = "downstream"
    toxicity: float = 1.0
    name: str = ""
    lease: float | None = None
    connections: Mapping[str, int] | None = None
    own: bool = False

    @property
    def embedded_only(self) -> bool:
        """Whether the original could not do it."""
        return self.own or bool(self.connections)

    def body(self) -> dict[str, object]:
        """As the API takes it."""
        body: dict[str, object] = {"name": self.name, "type": self.type, "stream": self.stream}
        body |= {"toxicity": self.toxicity, "attributes": dict(self.attributes), **(self.connections or {})}
        return body if self.lease is None else body | {"ttl": max(1, round(self.lease * 1e3))}


@dataclass(frozen=True)
class ProxyAddress:
    """Where a proxy listens."""

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class ToxicCounters:
    """What a toxic did: connections it acted on, chunks and bytes it was given, connections it ended."""

    connections: int
    chunks: int
    bytes: int
    cut: int


@dataclass(frozen=True)
class ProxyCounters:
    """What passed through a proxy since it was created, live connections included.

    ``sent`` are the bytes delivered to the upstream, ``received`` those delivered to clients. ``requests``
    counts only while a tap is set. ``ended_upstream`` are the connections that the upstream ended first, by FIN
    or RST; ``reset_upstream`` those of them it ended by RST. ``toxics`` keeps the removed
    ones, until one of the same name is added.
    """

    opened: int
    active: int
    refused_upstream: int
    sent: int
    received: int
    requests: int
    ended_upstream: int
    reset_upstream: int
    toxics: Mapping[str, ToxicCounters]


@dataclass(frozen=True)
class Events:
    """Rows since a cursor. ``next`` is the cursor for the next call; ``dropped`` rows came too late to be read.

    ``rows`` are connections and exchanges that have ended, in the order of their ends. ``open_rows`` (with
    ``flush``) are those still under way, ended for the occasion at the time of the call.
    """

    next: int
    dropped: int
    rows: list[Connection | Exchange]
    open_rows: list[Connection | Exchange]
