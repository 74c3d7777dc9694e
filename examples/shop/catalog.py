"""Products by cache-aside: memory for a second, Redis, then the database, with one loader per product."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis

from shop import metrics
from shop.database import Database
from shop.errors import Unavailable
from shop.logs import log
from shop.redis_client import REDIS_DOWN
from shop.settings import Settings

_LOCAL_ENTRIES = 10_000
_ABSENT = b"-"  # in Redis: known not to exist


class Product(msgspec.Struct, frozen=True):
    """``price`` in cents."""

    sku: str
    name: str
    price: int


@dataclass(frozen=True, slots=True)
class Found:
    """``stale``: from a copy older than agreed, because nothing fresher could be reached."""

    product: Product | None
    stale: bool = False


class Catalog:
    """Looks products up. Only what cannot be answered from anywhere raises :class:`Unavailable`."""

    def __init__(self, settings: Settings, redis: Redis, db: Database) -> None:
        self._settings = settings
        self._redis = redis
        self._db = db
        self._local: OrderedDict[str, tuple[float, Product | None]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Product | None]] = {}

    async def find(self, sku: str) -> Found:
        """The product, or a ``Found`` without one when it does not exist."""
        copy = self._local.get(sku)
        now = time.monotonic()
        if copy is not None and now - copy[0] < self._settings.local_cache_ttl_s:
            self._count("local")
            return Found(copy[1])
        try:
            return Found(await self._load_once(sku))
        except Unavailable:
            if copy is None or now - copy[0] > self._settings.local_cache_stale_s:
                raise
            self._count("stale")
            return Found(copy[1], stale=True)

    async def _load_once(self, sku: str) -> Product | None:
        """Single-flight: who asks while a load is under way shares its result, and its failure."""
        if self._settings.single_flight == "off":
            return await self._load(sku)
        task = self._loading.get(sku)
        if task is None:
            task = self._loading[sku] = asyncio.create_task(self._load(sku))
            task.add_done_callback(lambda done: self._forget(sku, done))
        return await asyncio.shield(task)  # one caller going away must not fail the others

    def _forget(self, sku: str, done: asyncio.Task[Product | None]) -> None:
        del self._loading[sku]
        if not done.cancelled():
            done.exception()  # seen: every caller that still waits gets it as well

    async def _load(self, sku: str) -> Product | None:
        """Redis first, then the database; the result goes into both caches."""
        usable = True
        try:
            cached = await self._redis.get(f"product:{sku}")
        except REDIS_DOWN as error:
            log.warning("cache unavailable", reason=str(error))
            cached, usable = None, False
        if cached is not None:
            self._count("redis")
            product = None if cached == _ABSENT else msgspec.json.decode(cached, type=Product)
        else:
            self._count("database")
            rows = await self._db.rows("SELECT sku, name, price_cents FROM products WHERE sku = %s", (sku,))
            product = Product(*rows[0]) if rows else None
            if usable:
                await self._store(sku, product)
        self._keep(sku, product)
        return product

    async def _store(self, sku: str, product: Product | None) -> None:
        if product is None and self._settings.negative_cache == "off":
            return
        value = _ABSENT if product is None else msgspec.json.encode(product)
        ttl = self._settings.cache_negative_ttl_s if product is None else self._settings.cache_ttl_s
        try:
            await self._redis.set(f"product:{sku}", value, ex=ttl)
        except REDIS_DOWN as error:
            log.warning("cache not written", reason=str(error))

    def _keep(self, sku: str, product: Product | None) -> None:
        """The copy in memory: bounded, the oldest goes first."""
        if self._settings.local_cache == "off" or (product is None and self._settings.negative_cache == "off"):
            return
        self._local[sku] = (time.monotonic(), product)
        self._local.move_to_end(sku)
        if len(self._local) > _LOCAL_ENTRIES:
            self._local.popitem(last=False)

    def _count(self, source: str) -> None:
        metrics.cache.labels(self._settings.service, source).inc()
