"""A toxic of a proxy: the toxic with its name, direction and toxicity."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

from chaoskit.toxiproxy.server.conditions import Conditions
from chaoskit.toxiproxy.server.counters import ToxicCount
from chaoskit.toxiproxy.server.toxics.base import Toxic

Direction = Literal["upstream", "downstream"]
NO_CONDITIONS = Conditions(None, None, None)


class Installed:
    """``toxic`` as it was added to a proxy. ``stream`` keeps the spelling it was given (Toxiproxy does)."""

    __slots__ = (
        "conditions",
        "count",
        "kind",
        "name",
        "seed",
        "stream",
        "toxic",
        "toxicity",
        "ttl",
    )

    def __init__(self, name: str, kind: str, stream: str, toxicity: float, toxic: Toxic, seed: str) -> None:
        self.name = name
        self.kind = kind
        self.stream = stream
        self.toxicity = toxicity
        self.toxic = toxic
        self.seed = seed
        self.count = ToxicCount()
        self.conditions = NO_CONDITIONS
        self.ttl: int | None = None
        """The lease: milliseconds after which the toxic removes itself; None for ever."""

    @property
    def direction(self) -> Direction:
        """Which way the data goes that it treats."""
        return "upstream" if self.stream.lower() == "upstream" else "downstream"

    def random(self, connection: int) -> Random:
        """A source of chance for one connection: the same for the same seed, whatever else goes on."""
        return Random(f"{self.seed}/{self.name}/{connection}")  # noqa: S311 - chance, not secrecy

    def hits(self, connection: int) -> bool:
        """Whether, by its toxicity, the toxic acts on a connection."""
        return self.toxicity >= 1 or self.random(connection).random() < self.toxicity

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {
            "attributes": self.toxic.values(),
            "name": self.name,
            "type": self.kind,
            "stream": self.stream,
            "toxicity": self.toxicity,
            **self.conditions.as_dict(),
        }
        return shown if self.ttl is None else {**shown, "ttl": self.ttl}
