"""The outbox: what is still to be done for an order, claimed by lease so that a dead worker loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shop.database import Database
from shop.settings import Settings

# A claim is a lease: the row is not due again before it ends. No connection is held while the work is done.
_CLAIM = """
UPDATE outbox SET attempts = outbox.attempts + 1, due_at = now() + make_interval(secs => %s)
FROM (
    SELECT id FROM outbox WHERE done_at IS NULL AND due_at <= now() ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
) due JOIN outbox queued USING (id) LEFT JOIN orders USING (order_id)
WHERE outbox.id = due.id
RETURNING outbox.id, outbox.kind, queued.order_id, outbox.order_key, outbox.traceparent,
    orders.request_id, orders.sku, orders.amount_cents, orders.status
"""
# Only rows that were still open have an effect: when a lease ran out and two workers did the same row, one counts.
_DONE = """
WITH done AS (
    UPDATE outbox SET done_at = clock_timestamp() WHERE id = ANY(%s) AND done_at IS NULL RETURNING order_id, kind
), paid AS (
    UPDATE orders SET status = 'paid', paid_at = clock_timestamp()
    WHERE status = 'payment_pending' AND order_id IN (SELECT order_id FROM done WHERE kind = 'order')
)
INSERT INTO notifications (order_id) SELECT order_id FROM done WHERE kind = 'order'
"""
_DECLINED = """
WITH done AS (
    UPDATE outbox SET done_at = clock_timestamp() WHERE id = %s AND done_at IS NULL RETURNING order_id
), declined AS (
    UPDATE orders SET status = 'payment_declined'
    WHERE status = 'payment_pending' AND order_id IN (SELECT order_id FROM done) RETURNING sku, quantity
)
UPDATE products SET stock = stock + quantity FROM declined WHERE products.sku = declined.sku
"""
_LATER = """
UPDATE outbox SET due_at = now() + make_interval(
    secs => least(%s, %s * 2 ^ least(attempts - 1, 20)) * (0.75 + 0.5 * random()))
WHERE id = ANY(%s) AND done_at IS NULL
"""
_BACKLOG = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM outbox WHERE done_at IS NULL
"""


@dataclass(frozen=True)
class Item:
    """One row to be worked on. ``amount`` in cents; the order's fields are None for an order that was refused."""

    id: int
    kind: str
    order_id: str
    order_key: str
    traceparent: str
    request_id: str | None
    sku: str | None
    amount: int | None
    status: str | None


class Outbox:
    """Claims rows, and records what became of them."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db

    async def claim(self) -> list[Item]:
        """Take rows that are due, for ``worker_lease_s`` seconds."""
        rows = await self._db.rows(_CLAIM, (self._settings.worker_lease_s, self._settings.worker_batch))
        return [Item(*row) for row in rows]

    async def done(self, ids: Sequence[int]) -> None:
        """Close rows with their effect: the order is paid and its user notified, once."""
        await self._db.rows(_DONE, (list(ids),))

    async def declined(self, row_id: int) -> None:
        """Close a row whose payment was refused, and put the goods back."""
        await self._db.rows(_DECLINED, (row_id,))

    async def later(self, ids: Sequence[int]) -> None:
        """Make rows due again after a back-off that grows with their attempts."""
        settings = self._settings
        await self._db.rows(_LATER, (settings.worker_backoff_max_s, settings.worker_backoff_s, list(ids)))

    async def backlog(self) -> tuple[int, float]:
        """How many rows are open, and the age of the oldest in seconds."""
        count, age = (await self._db.rows(_BACKLOG))[0]
        return count, float(age)
