"""A lock in Redis with a lease: whoever holds it may die, and the next one still gets it."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from shop.errors import Refused, Unavailable
from shop.logs import log
from shop.redis_client import REDIS_DOWN
from shop.settings import Settings

_POLL_S = 0.04
# Compare and delete: a holder whose lease ran out must not release the lock of its successor.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Lease:
    """Proof of holding a lock, good until ``expires`` (monotonic seconds)."""

    def __init__(self, lock: OrderLock, name: str, token: str, expires: float) -> None:
        self._lock = lock
        self._name = name
        self._token = token
        self._expires = expires

    async def confirm(self, seconds: float) -> None:
        """Refuse (503) to go on when somebody else could hold the lock within the next ``seconds``.

        That is so near the end of the lease, and when Redis has lost the lock, for example in a restart.
        """
        if time.monotonic() + seconds > self._expires or not await self._lock.is_ours(self._name, self._token):
            raise Unavailable("lock_lost")


class OrderLock:
    """One holder per key at a time, over all instances."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._redis = redis
        self._release = redis.register_script(_RELEASE)

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[Lease]:
        """Hold the lock of ``key``, waiting briefly for another holder.

        Refused with 409 when the other holder does not finish, and with 503 when Redis cannot be asked: going on
        without the lock could make a duplicate order.
        """
        name, token = f"lock:order:{key}", secrets.token_hex(16)
        if self._settings.orders_lock == "off":
            yield Lease(self, name, token, math.inf)
            return
        expires = await self._acquire(name, token)
        try:
            yield Lease(self, name, token, expires)
        finally:
            try:
                await self._release(keys=[name], args=[token])
            except REDIS_DOWN as error:
                log.warning("lock not released, left to its lease", reason=str(error))

    async def is_ours(self, name: str, token: str) -> bool:
        """Whether Redis still names ``token`` as the holder."""
        if self._settings.orders_lock == "off":
            return True
        try:
            return bool(await self._redis.get(name) == token.encode())
        except REDIS_DOWN as error:
            log.warning("lock not confirmed", reason=str(error))
            return False

    async def _acquire(self, name: str, token: str) -> float:
        """Get the lock; gives the end of the lease in monotonic seconds."""
        lease = self._settings.lock_lease_s if self._settings.lease == "on" else None
        expiry_ms = round(lease * 1000) if lease is not None else None
        give_up = time.monotonic() + self._settings.lock_wait_s
        while True:
            asked = time.monotonic()  # before the request: the lease must not seem longer than Redis grants
            try:
                got = await self._redis.set(name, token, nx=True, px=expiry_ms)
            except REDIS_DOWN as error:
                log.warning("lock unavailable", reason=str(error))
                raise Unavailable("lock_unavailable") from None
            if got:
                return asked + lease if lease is not None else math.inf
            if time.monotonic() + _POLL_S > give_up:
                raise Refused(409, "duplicate_in_progress", retry_after=1.0)
            await asyncio.sleep(_POLL_S)
