"""payments: charges an order once per idempotency key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from chaoskit.failpoints import afailpoint, register
from shop.database import Database
from shop.errors import Refused
from shop.settings import Settings, read_or_exit
from shop.web import answer_told_by, application, caller_waits, json_response, read_json, run

DECLINED_SKU = "declined-card"

register("payments/charge")

# One round trip, charged now or before: the update that changes nothing makes the existing row come back.
_CHARGE = """
INSERT INTO charges (idempotency_key, order_key, sku, amount_cents) VALUES (%s, %s, %s, %s)
ON CONFLICT (idempotency_key) DO UPDATE SET idempotency_key = excluded.idempotency_key
RETURNING id, xmax <> 0
"""
_REFUND = "UPDATE charges SET refunded_at = clock_timestamp() WHERE order_key = %s AND refunded_at IS NULL"


class ChargeRequest(msgspec.Struct):
    """``amount`` in cents."""

    order_key: str
    amount: int
    sku: str


class RefundRequest(msgspec.Struct):
    order_key: str


class Payments:
    """The handlers of the payments service."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db

    async def charge(self, request: web.Request) -> web.Response:
        """Charge, or return the charge made before for this idempotency key; 402 for a declined card."""
        answer_told_by(await afailpoint("payments/charge"))
        wanted = await read_json(request, ChargeRequest)
        if wanted.sku == DECLINED_SKU:
            raise Refused(402, "declined")
        key = request.headers.get("idempotency-key", wanted.order_key)
        rows = await self._db.rows(
            _CHARGE,
            (
                key if self._settings.idempotency == "on" else None,
                wanted.order_key,
                wanted.sku,
                wanted.amount,
            ),
            within=caller_waits(request),
        )
        charge_id, repeated = rows[0]
        headers = {"x-idempotent-replay": "true"} if repeated else None
        return json_response({"charge_id": charge_id, "status": "charged"}, status=201, headers=headers)

    async def refund(self, request: web.Request) -> web.Response:
        """Give the money of an order back; repeating it changes nothing."""
        wanted = await read_json(request, RefundRequest)
        await self._db.rows(_REFUND, (wanted.order_key,), within=caller_waits(request))
        return json_response({"status": "refunded"})


def build(settings: Settings) -> web.Application:
    """The payments service, not yet started."""
    db = Database(settings)
    app = application(settings, {"database": db.trouble})
    service = Payments(settings, db)
    app.router.add_post("/charges", service.charge)
    app.router.add_post("/refunds", service.refund)

    async def resources(_: web.Application) -> AsyncIterator[None]:
        await db.open()
        yield
        await db.close()

    app.cleanup_ctx.append(resources)
    return app


if __name__ == "__main__":
    settings = read_or_exit("payments")
    run(build(settings), settings)
