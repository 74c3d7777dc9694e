"""From a host's name to a connected socket, inside the blast radius, without asking the resolver each time."""

from __future__ import annotations

import asyncio
import math
import socket

from chaoskit.base.blast_radius import BlastRadius, Target

FRESH = 1.0
"""Seconds a looked-up name is believed; short, because a rehearsal may move a service."""


class Resolver:
    """Connects to hosts by name or number."""

    def __init__(self, loop: asyncio.AbstractEventLoop, radius: BlastRadius) -> None:
        self._loop = loop
        self._radius = radius
        self._known: dict[tuple[str, int], tuple[float, list[Target]]] = {}

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected non-blocking socket to the first address that answers. Raises OSError (BeyondError is one)."""
        failure: OSError | None = None
        for family, address in await self._addresses(host, port):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                await self._loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = failure or error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError(f"{host} has no address")

    async def _addresses(self, host: str, port: int) -> list[Target]:
        until, targets = self._known.get((host, port), (-math.inf, []))
        if self._loop.time() >= until:
            until, targets = math.inf, self._radius.numeric(host, port)
            if not targets:  # a name, and the resolver may take its time
                targets = await self._loop.run_in_executor(None, self._radius.resolve, host, port)
                until = self._loop.time() + FRESH
            self._known[host, port] = until, targets
        return targets
