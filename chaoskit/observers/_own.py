"""Which connections of a service are chaoskit's own: they say nothing about what it holds on to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from chaoskit.system.sockets import Link, established, readable


class Place(NamedTuple):
    """Where a service is reached: at its own port, and at the port of the proxy before it (0: none)."""

    port: int
    proxy: int


class OwnConnections:
    """Counts those that this process and ``pids`` (the traffic generator) hold to a service that runs beside us.

    A connection through the proxy has two parts, and which belong together only the proxy knows: as many of the
    service's are ours as we hold to the proxy, at most all that it has. ``places`` are those of the services by name.
    """

    def __init__(self, places: Mapping[str, Place], pids: Callable[[], Iterable[int]]) -> None:
        self._places = places
        self._pids = pids
        self._links: list[Link] = []
        self._ours: list[Link] = []

    def look(self) -> None:
        """Look at all connections of this moment. Raises OSError."""
        self._links = established()
        ours = {inode for pid in (os.getpid(), *self._pids()) for inode in readable(pid)}
        self._ours = [link for link in self._links if link.inode in ours]

    def of(self, service: str, pids: Iterable[int]) -> int:
        """How many of the processes ``pids`` of a service were ours then. None in a network of its own can be told."""
        place = self._places.get(service)
        if place is None:
            return 0
        callers = {link.local_port for link in self._ours if link.remote_port == place.port}
        through = sum(link.remote_port == place.proxy for link in self._ours) if place.proxy else 0
        if not callers and not through:
            return 0
        inodes = {inode for pid in pids for inode in readable(pid)}
        accepted = [link for link in self._links if link.local_port == place.port and link.inode in inodes]
        direct = sum(link.remote_port in callers for link in accepted)
        return direct + min(through, len(accepted) - direct)
