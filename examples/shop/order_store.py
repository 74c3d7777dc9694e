"""Orders in PostgreSQL: the order, the stock and the outbox row, in one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from psycopg.errors import UniqueViolation

from chaoskit.failpoints import afailpoint, register
from shop import trace
from shop.database import Database
from shop.errors import Refused
from shop.logs import log

register("orders/commit")

# One statement is one transaction and one round trip: with a slow database, what is held is held briefly.
_PLACE = """
WITH taken AS (
    UPDATE products SET stock = stock - %s WHERE sku = %s AND stock >= %s RETURNING sku
), placed AS (
    INSERT INTO orders
        (order_id, request_id, idempotency_key, user_name, sku, quantity, amount_cents, status, paid_at)
    SELECT %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN clock_timestamp() END FROM taken
    RETURNING order_id
)
INSERT INTO outbox (kind, order_id, order_key, traceparent) SELECT 'order', order_id, %s, %s FROM placed
RETURNING order_id
"""
_COLUMNS = "order_id, request_id, idempotency_key, user_name, sku, quantity, amount_cents, status"
_FIND = {
    "order_id": f"SELECT {_COLUMNS} FROM orders WHERE order_id = %s",  # noqa: S608  # both parts are constants
    "key": f"SELECT {_COLUMNS} FROM orders WHERE idempotency_key = %s ORDER BY created_at LIMIT 1",  # noqa: S608
}
_REFUND = "INSERT INTO outbox (kind, order_id, order_key, traceparent) VALUES ('refund', %s, %s, %s)"
_WRITE_BEHIND_S = 0.5


@dataclass(frozen=True)
class Order:
    """``amount`` in cents; ``key`` is the idempotency key it was placed with."""

    order_id: str
    request_id: str
    key: str
    user: str
    sku: str
    quantity: int
    amount: int
    status: str

    def public(self) -> dict[str, str]:
        """The answer to the client that placed it."""
        return {"order_id": self.order_id, "status": self.status, "request_id": self.request_id}


class OrderStore:
    """Reads and writes orders."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._behind: set[asyncio.Task[None]] = set()

    async def by_id(self, order_id: str) -> Order | None:
        return await self._find("order_id", order_id)

    async def by_key(self, key: str) -> Order | None:
        return await self._find("key", key)

    async def place(self, order: Order) -> None:
        """Store ``order``, take its stock and queue its outbox row; refused with 409 when stock is short.

        A paid order that finds no stock leaves a refund in the outbox.
        """
        try:
            placed = await self._db.retrying_conflicts(lambda: self._place(order))
        except UniqueViolation:
            raise Refused(409, "already_exists") from None
        if not placed:
            if order.status == "paid":
                await self._db.rows(_REFUND, (order.order_id, order.key, _traceparent()))
            raise Refused(409, "out_of_stock")

    def place_later(self, order: Order) -> None:
        """Store ``order`` after the client was told it is (ORDERS_ACK=early): quick, and lost with the process."""
        task = asyncio.create_task(self._place_behind(order))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _place_behind(self, order: Order) -> None:
        await asyncio.sleep(_WRITE_BEHIND_S)
        try:
            await self.place(order)
        except Refused as error:
            log.error("acknowledged order lost", order_id=order.order_id, reason=error.code)

    async def _place(self, order: Order) -> bool:
        paid = order.status == "paid"
        async with self._db.connection() as connection:
            hit = await afailpoint("orders/commit")
            if hit is not None and hit.value:
                # A real error of the server, with the SQLSTATE that was asked for: return("40P01") is a deadlock.
                state = "".join(letter for letter in str(hit.value) if letter.isalnum())
                await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'failpoint' USING ERRCODE = '{state}'; END $$")
            cursor = await connection.execute(
                _PLACE,
                (
                    *(order.quantity, order.sku, order.quantity),
                    *(order.order_id, order.request_id, order.key, order.user, order.sku),
                    *(order.quantity, order.amount, order.status, paid),
                    *(order.key, _traceparent()),
                ),
            )
            return await cursor.fetchone() is not None

    async def _find(self, by: str, value: str) -> Order | None:
        rows = await self._db.rows(_FIND[by], (value,))
        return Order(*rows[0]) if rows else None


def _traceparent() -> str:
    here = trace.current()
    return here.traceparent if here else ""
