"""orders: takes orders, and answers even while what it depends on does not."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web

from chaoskit.failpoints import afailpoint, register
from shop import metrics, redis_client, trace
from shop.breaker import BreakerOpen
from shop.catalog import Catalog
from shop.database import Database
from shop.errors import Refused, Unavailable
from shop.features import Features
from shop.imports import spool
from shop.lock import OrderLock
from shop.logs import log
from shop.order_store import Order, OrderStore
from shop.payments_client import Charge, PaymentFailed, PaymentRefused, PaymentsClient
from shop.rate_limit import RateLimit
from shop.recommend import Recommender
from shop.settings import Settings, read_or_exit
from shop.web import answer_told_by, application, caller_waits, json_response, read_json, run

for _name in ("orders/place", "orders/get-order", "orders/get-product"):
    register(_name)


class OrderRequest(msgspec.Struct):
    """What a client sends to place an order."""

    user: str
    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class ImportRequest(msgspec.Struct):
    """A bulk import of so many parts."""

    parts: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Orders:
    """The handlers of the orders service."""

    def __init__(
        self, settings: Settings, db: Database, catalog: Catalog, limit: RateLimit, lock: OrderLock, features: Features
    ) -> None:
        self._settings = settings
        self._db = db
        self._store = OrderStore(db)
        self._catalog = catalog
        self._limit = limit
        self._lock = lock
        self._features = features
        self._recommender = Recommender()
        self._fallbacks = metrics.fallbacks
        self.payments: PaymentsClient  # needs a running event loop: set when the application starts

    async def place(self, request: web.Request) -> web.Response:
        """Place an order once per idempotency key; see README.md for the protections on the way."""
        patience = min(self._settings.order_deadline_s, caller_waits(request) or math.inf)
        deadline = time.monotonic() + patience
        answer_told_by(await afailpoint("orders/place"))
        wanted = await read_json(request, OrderRequest)
        here = trace.current()
        assert here is not None  # the outermost middleware began it
        key = request.headers.get("idempotency-key") or here.request_id
        await self._limit.admit(wanted.user)
        hold = self._db.held() if self._settings.orders_pool == "deferred-release" else nullcontext()
        async with hold, self._lock.holding(key) as lease:
            known = await self._store.by_key(key)
            if known is not None:
                return json_response(known.public(), headers={"x-idempotent-replay": "true"})
            amount = await self._price(wanted.sku) * wanted.quantity
            more = await self._recommended(wanted)
            paid = await self._pay(Charge(key, amount, wanted.sku), deadline)
            order = Order(
                order_id=uuid.uuid4().hex,
                request_id=here.request_id,
                key=key,
                user=wanted.user,
                sku=wanted.sku,
                quantity=wanted.quantity,
                amount=amount,
                status="paid" if paid else "payment_pending",
            )
            await lease.confirm(self._settings.db_statement_timeout_s)
            if self._settings.orders_ack == "early":
                self._store.place_later(order)
            else:
                await self._store.place(order)
        return json_response(order.public() | more, status=201, headers=None if paid else {"x-degraded": "deferred"})

    async def order(self, request: web.Request) -> web.Response:
        """One order, from the database."""
        answer_told_by(await afailpoint("orders/get-order"))
        order = await self._store.by_id(request.match_info["order_id"])
        if order is None:
            raise Refused(404, "unknown_order")
        details = {"user": order.user, "sku": order.sku, "quantity": order.quantity, "amount": order.amount}
        return json_response(order.public() | details)

    async def product(self, request: web.Request) -> web.Response:
        """One product; marked ``x-degraded: cache`` when only an old copy could be had."""
        answer_told_by(await afailpoint("orders/get-product"))
        found = await self._catalog.find(request.match_info["sku"])
        if found.stale:
            self._fallbacks.labels(self._settings.service, "cache").inc()
        if found.product is None:
            raise Refused(404, "unknown_product")
        return json_response(found.product, headers={"x-degraded": "cache"} if found.stale else None)

    async def bulk_import(self, request: web.Request) -> web.Response:
        """Spool the parts of an import, in a thread: files would block the event loop."""
        wanted = await read_json(request, ImportRequest)
        spooled = await asyncio.to_thread(spool, wanted.parts, self._settings)
        if spooled.in_memory:
            self._fallbacks.labels(self._settings.service, "memory").inc()
        headers = {"x-degraded": "memory"} if spooled.in_memory else None
        return json_response({"parts": wanted.parts, "bytes": spooled.written}, headers=headers)

    async def _recommended(self, wanted: OrderRequest) -> dict[str, list[str]]:
        """What the answer holds besides the order, while the feature is on."""
        if not self._features.on("recommendations"):
            return {}
        return {"also_bought": await self._recommender.also_bought(wanted.user, wanted.sku)}

    async def _price(self, sku: str) -> int:
        product = (await self._catalog.find(sku)).product
        if product is None:
            raise Refused(404, "unknown_product")
        return product.price

    async def _pay(self, charge: Charge, deadline: float) -> bool:
        """Whether the charge went through now; False leaves it to the worker, if the fallback is on."""
        try:
            await self.payments.charge(charge, deadline)
        except PaymentRefused as error:
            raise (Refused(402, "declined") if error.status == 402 else Refused(502, "payment_rejected")) from None
        except (PaymentFailed, BreakerOpen) as error:
            log.warning("payment not made", reason=str(error) or type(error).__name__)
            if self._settings.fallback == "off":
                raise Unavailable("payment_unavailable") from None
            self._fallbacks.labels(self._settings.service, "deferred").inc()
            return False
        return True


def build(settings: Settings) -> web.Application:
    """The orders service, not yet started."""
    if settings.spool_dir:
        Path(settings.spool_dir).mkdir(parents=True, exist_ok=True)
    db = Database(settings)
    redis = redis_client.connect(settings)
    features = Features(settings, {"recommendations": settings.recommendations == "on"})
    orders = Orders(
        settings, db, Catalog(settings, redis, db), RateLimit(settings, redis), OrderLock(settings, redis), features
    )
    app = application(settings, {"database": db.trouble, "redis": lambda: redis_client.trouble(redis)})
    app.router.add_post("/orders", orders.place)
    app.router.add_get("/orders/{order_id}", orders.order)
    app.router.add_get("/products/{sku}", orders.product)
    app.router.add_post("/imports", orders.bulk_import)
    features.add_routes(app.router)

    async def resources(_: web.Application) -> AsyncIterator[None]:
        await db.open()
        orders.payments = PaymentsClient(settings)
        yield
        await orders.payments.close()
        await redis.aclose()
        await db.close()

    app.cleanup_ctx.append(resources)
    return app


if __name__ == "__main__":
    settings = read_or_exit("orders")
    run(build(settings), settings)
