"""Use up the connections that a server accepts."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, StrictInt, WithJsonSchema

from chaoskit import units
from chaoskit.clock import now
from chaoskit.errors import BrokenError
from chaoskit.faults._background import Background
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.faults._holders import Holder

_RETRY = 0.05
"""Seconds until the next attempt after a refused one, and between two looks at what is held."""

_ENTRY = 5.0
"""Seconds that entering waits for the first round of attempts."""

_EVICTION = 2.0
"""Seconds that the window's beginning waits for the places of those that were evicted."""


def _hold(value: int | str) -> int | str:
    legal = ["a number of connections: 20", "a share of the server's limit: 90%"]
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = units.parse_ratio(value)
        except units.UnitError as error:
            raise problem(str(error), legal) from None
        if not 0 < share <= 1:
            raise problem(f"the share lies above 0% and at most at 100%, is {value}", legal)
        return value.strip()
    if isinstance(value, str):
        if not value.strip().isdecimal():
            raise problem(f"{value!r} says not how many connections", legal)
        value = int(value)
    if value < 1:
        raise problem(f"at least one connection, is {value}", legal)
    return value


Hold = Annotated[
    StrictInt | str,
    AfterValidator(_hold),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*%?\s*$"},
            ],
            "examples": [20, "90%"],
            "description": "connections, or a share of the server's limit, in %",
        }
    ),
]


class PoolExhaustion(Fault):
    """Opens connections to a server, through its proxy, and holds them without using them.

    Rehearses a neighbour that leaks connections, a deployment that doubles the number of instances, or a pool that
    is drained. Do callers wait for a bounded time, answer clearly, and recover as soon as there is room again?

    Arguments:

    - ``on``: the server. PostgreSQL gets real sessions (so they count against ``max_connections``), Redis real
      clients (``maxclients``), anything else plain TCP connections.
    - ``hold``: how many: ``20``, or a share of what the server accepts: ``90%``.
    - ``evict``: with ``true`` the sessions of all others are terminated first, and again as long as not all that
      was asked is held, so that the service must come back for new ones. Default ``false``: what the service has
      it keeps. Possible with PostgreSQL and Redis.

    While the window lasts, what was refused, or was lost since, is tried again every 50 ms. All is released at the
    end; where chaoskit dies, the kernel closes the sockets.

    Evidence counts ``connections``: the most that were held at one moment. Facts: ``asked``, ``limit`` (the
    server's, null if unknown), ``held`` (the same as touched), ``held_at_end``, ``refused`` (attempts),
    ``refusal`` (the latest in words), ``lost`` (held ones that the server or a fault closed), ``evicted`` (sessions
    of others that were ended) and ``seconds`` until all that was asked was held (null if never).
    """

    on: ServiceName
    hold: Hold
    evict: bool = False

    @property
    def target(self) -> str:
        """The server."""
        return self.on

    def asked(self, limit: int | None) -> int:
        """How many connections ``hold`` means. Raises BrokenError for a share of an unknown limit."""
        if isinstance(self.hold, int):
            return self.hold
        if limit is None:
            raise BrokenError(f"{self.on} tells no limit of connections; give hold as a number")
        return max(1, math.floor(limit * units.parse_ratio(self.hold) + 1e-9))

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Take the connections on entering, release them on leaving."""
        from chaoskit.faults._holders import holder_for

        service = world.service(self.on)
        limit = service.limit()
        asked = self.asked(limit)
        holder = holder_for(service, world.proxied(self.on))
        if self.evict and not holder.can_evict:
            raise BrokenError(f"{self.on}: sessions of others can be ended in PostgreSQL and Redis only")
        siege = _Siege(holder, asked, self.evict)
        evidence = Evidence(unit="connections", facts={"asked": asked, "limit": limit})
        background = Background(f"pool_exhaustion {self.on}", siege.run)
        try:
            siege.settled.wait(_ENTRY)
            yield evidence
        finally:
            background.stop()
            evidence.touched = siege.most
            evidence.facts |= siege.facts()
            background.check()


class _Siege:
    """Holds connections, as many as asked where possible. Works in one background thread."""

    def __init__(self, holder: Holder, asked: int, evict: bool) -> None:
        self._holder = holder
        self._asked = asked
        self._evict = evict
        self._began = now()
        self._held: list[Any] = []
        self._at_end = 0
        self._refused = self._lost = self._evicted = 0
        self._refusal: str | None = None
        self._seconds: float | None = None
        self.most = 0
        self.settled = threading.Event()

    def run(self, stopped: threading.Event) -> None:
        """Take and keep until told to stop; then release everything."""
        try:
            while not stopped.is_set():
                self._drop_lost()
                if self._evict and self._seconds is None:
                    self._fill(1, stopped)  # one must be in to put others out
                    self._evicted += self._holder.evict(self._held)
                self._fill(self._asked, stopped)
                if not self._evict or self._seconds is not None or now() > self._began + _EVICTION:
                    self.settled.set()
                stopped.wait(_RETRY)
            self._drop_lost()
        finally:
            self.settled.set()
            self._at_end = len(self._held)
            for connection in self._held:
                self._holder.close(connection)

    def _fill(self, number: int, stopped: threading.Event) -> None:
        while len(self._held) < number and not stopped.is_set():
            try:
                self._held.append(self._holder.open())
            except OSError as error:
                self._refused += 1
                self._refusal = str(error)
                return
            self.most = max(self.most, len(self._held))
        if len(self._held) == self._asked and self._seconds is None:
            self._seconds = round(now() - self._began, 3)

    def _drop_lost(self) -> None:
        for connection in [one for one in self._held if not self._holder.alive(one)]:
            self._held.remove(connection)
            self._holder.close(connection)
            self._lost += 1

    def facts(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "held": self.most,
            "held_at_end": self._at_end,
            "refused": self._refused,
            "refusal": self._refusal,
            "lost": self._lost,
            "evicted": self._evicted,
            "seconds": self._seconds,
        }
