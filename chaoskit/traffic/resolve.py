"""From a host's name to a connected socket, without asking the resolver for every connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

FRESH = 1.0
"""Seconds a looked-up name is believed; short, because a rehearsal may move a service."""

_Address = tuple[int, Any]


class Resolver:
    """Connects to hosts by name or number."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, list[_Address]]] = {}

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected non-blocking socket to the first address that answers. Raises OSError."""
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

    async def _addresses(self, host: str, port: int) -> list[_Address]:
        try:
            number = ipaddress.ip_address(host)
        except ValueError:
            return await self._look_up(host, port)
        return [(socket.AF_INET if number.version == 4 else socket.AF_INET6, (host, port))]

    async def _look_up(self, host: str, port: int) -> list[_Address]:
        known = self._known.get((host, port))
        if known is not None and self._loop.time() - known[0] < FRESH:
            return known[1]
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [(int(family), address) for family, _, _, _, address in found]
        self._known[host, port] = (self._loop.time(), addresses)
        return addresses
