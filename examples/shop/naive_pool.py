"""The pool of ``ORDERS_POOL=poisoned``: whatever comes back is lent out again, broken or not.

It is bounded and limits the wait like the hardened one; only the checks are missing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

Connection = psycopg.AsyncConnection[Any]


class NaivePool:
    """Borrow with :meth:`getconn`, give back with :meth:`putconn`."""

    def __init__(self, conninfo: str, kwargs: dict[str, Any], *, size: int) -> None:
        self._conninfo = conninfo
        self._kwargs = kwargs
        self._idle: asyncio.Queue[Connection | None] = asyncio.Queue()
        self._opened: set[Connection] = set()
        for _ in range(size):
            self._idle.put_nowait(None)  # a place whose connection has not been opened yet

    async def open(self) -> None:
        """Nothing to do: connections open when they are first needed."""

    async def close(self) -> None:
        """Close every connection ever opened."""
        for connection in self._opened:
            await connection.close()

    async def getconn(self, limit: float) -> Connection:
        """The next connection in turn; raises :class:`psycopg_pool.PoolTimeout` after ``limit`` seconds."""
        try:
            async with asyncio.timeout(limit):
                connection = await self._idle.get()
        except TimeoutError:
            raise PoolTimeout(f"no connection within {limit:g} s") from None
        if connection is None:
            try:
                connection = await psycopg.AsyncConnection.connect(self._conninfo, **self._kwargs)
            except BaseException:
                self._idle.put_nowait(None)
                raise
            self._opened.add(connection)
        return connection

    async def putconn(self, connection: Connection) -> None:
        """Take a connection back, without a look at it."""
        self._idle.put_nowait(connection)
