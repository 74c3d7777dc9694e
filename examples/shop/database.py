"""PostgreSQL through a bounded pool: a connection is lent for one piece of SQL, checked, and limited in time."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from shop import metrics
from shop.errors import Unavailable
from shop.logs import log
from shop.naive_pool import NaivePool
from shop.schema import SCHEMA
from shop.settings import Settings

Connection = psycopg.AsyncConnection[Any]
Row = tuple[Any, ...]
T = TypeVar("T")

CONFLICTS = (errors.DeadlockDetected, errors.SerializationFailure)
_SCHEMA_LOCK = 7_310_001  # any number, the same in all three processes


class Database:
    """The only way to SQL. Every failure to get or use a connection is raised as :class:`Unavailable`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._service = settings.service
        self._held: ContextVar[Connection | None] = ContextVar("held", default=None)
        self.prepared = asyncio.Event()
        self._preparing: asyncio.Task[None] | None = None
        self._borrowers = 0
        self._poisoned = settings.service == "orders" and settings.orders_pool == "poisoned"
        # A little sooner than our own limit: where the server still listens, it ends the statement itself and
        # the connection stays good.
        options = f"-c statement_timeout={round(settings.db_statement_timeout_s * 900)}"
        kwargs = {
            "autocommit": True,
            "connect_timeout": 2,
            "options": options,
            "application_name": f"shop-{settings.service}",
        }
        self._pool: AsyncConnectionPool[Connection] | NaivePool
        if self._poisoned:
            self._pool = NaivePool(settings.database_url, kwargs, size=settings.db_pool_size)
        else:
            self._pool = AsyncConnectionPool(
                settings.database_url,
                kwargs=kwargs,
                open=False,
                min_size=settings.db_pool_size,
                max_size=settings.db_pool_size,
                # Short on purpose: the pool's own reconnection backs off for seconds, and then a healed
                # database stays out of reach. Giving up early leaves reconnecting to the next borrower.
                reconnect_timeout=0.3,
            )
        metrics.pool_size.labels(self._service).set(settings.db_pool_size)
        self._in_use = metrics.pool_in_use.labels(self._service)
        self._waiting = metrics.pool_waiting.labels(self._service)
        self._discarded = metrics.pool_discarded.labels(self._service)
        self._statements = metrics.statements.labels(self._service)

    async def open(self) -> None:
        """Start connecting; returns at once, so that the process is up before its database is."""
        await self._pool.open()
        self._preparing = asyncio.create_task(self._prepare())

    async def close(self) -> None:
        """Close every connection."""
        if self._preparing is not None:
            self._preparing.cancel()
        await self._pool.close()

    async def trouble(self) -> str:
        """Empty when a statement can be run now, else what stands in the way (for /readyz)."""
        if not self.prepared.is_set():
            return "schema not prepared yet"
        try:
            await self.rows("SELECT 1")
        except Unavailable as error:
            return error.code
        return ""

    async def rows(self, sql: str, parameters: Sequence[object] = (), *, within: float | None = None) -> list[Row]:
        """Run one statement, which is one transaction, and return its rows.

        ``within``: seconds for borrowing and for the statement together, if less than the configured limits.
        """
        async with self.connection(within=within) as connection:
            cursor = await connection.execute(sql, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def retrying_conflicts(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work``, a whole transaction, again when the database rolled it back over a conflict.

        Any other error is not retried: a unique violation, say, would only fail again.
        """
        attempts = self._settings.db_conflict_attempts if self._settings.conflict_retries == "on" else 1
        for attempt in range(1, attempts):
            try:
                return await work()
            except CONFLICTS as error:
                metrics.conflicts.labels(self._service).inc()
                log.warning("transaction conflict", sqlstate=error.sqlstate, attempt=attempt)
                await asyncio.sleep(0.01 * 2**attempt * random.uniform(0.75, 1.25))
        try:
            return await work()
        except CONFLICTS:
            raise Unavailable("transaction_conflict") from None

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Borrow one connection for everything inside (the fragile way: it idles while others wait)."""
        async with self.connection(limited=False) as connection:
            token = self._held.set(connection)
            try:
                yield
            finally:
                self._held.reset(token)

    @contextlib.asynccontextmanager
    async def connection(self, *, within: float | None = None, limited: bool = True) -> AsyncIterator[Connection]:
        """Borrow a checked connection. Hold it for SQL only, never across a call to another service.

        ``within`` is as for :meth:`rows`; ``limited=False`` sets no limit to the time it is held.
        """
        held = self._held.get()
        if held is not None:
            self._statements.inc()
            yield held
            return
        if not self.prepared.is_set() and asyncio.current_task() is not self._preparing:
            raise Unavailable("database_not_ready")
        limit = math.inf if within is None else within
        started = time.monotonic()
        connection = await self._borrow(min(limit, self._settings.db_acquire_timeout_s))
        allowed = min(limit - (time.monotonic() - started), self._settings.db_statement_timeout_s)
        cut = asyncio.get_running_loop().call_later(max(0.001, allowed), _cut, connection) if limited else None
        self._in_use.inc()
        self._statements.inc()
        try:
            yield connection
        except CONFLICTS:
            raise
        except psycopg.OperationalError as error:
            log.warning("database unavailable", reason=str(error).strip())
            raise Unavailable("database_unavailable") from error
        finally:
            if cut is not None:
                cut.cancel()
            self._in_use.dec()
            await self._pool.putconn(connection)

    async def _borrow(self, limit: float) -> Connection:
        """A connection whose other end is still there. Raises :class:`Unavailable` after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        # Counted here and not by the pool's ``max_waiting``: the pool counts callers that have long given up
        # until a connection comes, and refuses everybody before it would open one. Once it has lost all its
        # connections it never gets one again (psycopg_pool 3.3).
        if self._borrowers >= self._settings.db_max_waiting:
            raise Unavailable("database_overloaded")
        self._borrowers += 1
        self._waiting.inc()
        try:
            while True:
                connection = await self._pool.getconn(max(0.001, deadline - time.monotonic()))
                if self._poisoned or not _closed_by_peer(connection):
                    return connection
                # Checked here and not by the pool's ``check=``: that one pauses a second between two broken
                # connections, and after a burst of resets all of them are.
                self._discarded.inc()
                await connection.close()
                await self._pool.putconn(connection)
        except PoolTimeout:
            raise Unavailable("database_busy") from None
        except psycopg.OperationalError as error:
            raise Unavailable("database_unavailable") from error
        finally:
            self._borrowers -= 1
            self._waiting.dec()

    async def _prepare(self) -> None:
        """Create what is missing in the schema; keeps trying until the database is there."""
        while not self.prepared.is_set():
            try:
                async with self.connection(within=5.0) as connection, connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
                    await connection.execute(SCHEMA)
                self.prepared.set()
            except (Unavailable, psycopg.Error) as error:
                log.warning("database not ready", reason=str(error).strip())
                await asyncio.sleep(0.1)


def _closed_by_peer(connection: Connection) -> bool:
    """Whether an idle connection is dead, without a round trip: an idle socket that can be read is at its end.

    A notice from the server looks the same; that connection is given up too, which costs one reconnect.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _cut(connection: Connection) -> None:
    """Give up on a connection whose statement takes too long: the waiting task sees the connection fail.

    Cancelling the task instead would make psycopg ask the server to cancel, and wait up to ten seconds for it
    when the network swallows everything.
    """
    log.warning("statement took too long, connection cut")
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as wire,
    ):
        wire.shutdown(socket.SHUT_RDWR)
