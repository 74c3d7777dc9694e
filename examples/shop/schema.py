"""The tables of all three processes, created at start by whoever comes first."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    sku text PRIMARY KEY,
    name text NOT NULL,
    price_cents bigint NOT NULL,
    stock bigint NOT NULL CHECK (stock >= 0)
);
-- orders.idempotency_key carries no unique index: one order per key rests on the lock in Redis alone, held
-- around check-then-insert. The trade: a database that shards orders by user cannot hold such an index, and
-- what a rehearsal wants to see is whether the lock does its work. Where one database holds all orders, add it.
CREATE TABLE IF NOT EXISTS orders (
    order_id text PRIMARY KEY,
    request_id text NOT NULL,
    idempotency_key text NOT NULL,
    user_name text NOT NULL,
    sku text NOT NULL,
    quantity bigint NOT NULL,
    amount_cents bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('paid', 'payment_pending', 'payment_declined')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paid_at timestamptz
);
CREATE INDEX IF NOT EXISTS orders_by_key ON orders (idempotency_key);
CREATE INDEX IF NOT EXISTS orders_by_request ON orders (request_id);
CREATE TABLE IF NOT EXISTS outbox (
    id bigserial PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('order', 'refund')),
    order_id text NOT NULL,
    order_key text NOT NULL,
    traceparent text NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz
);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (due_at) WHERE done_at IS NULL;
-- No unique index on the order here either: a worker that notifies twice must be seen to do so.
CREATE TABLE IF NOT EXISTS notifications (
    id bigserial PRIMARY KEY,
    order_id text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- A key of NULL (IDEMPOTENCY=off) is never equal to another, so the same order can be charged twice.
CREATE TABLE IF NOT EXISTS charges (
    id bigserial PRIMARY KEY,
    idempotency_key text UNIQUE,
    order_key text NOT NULL,
    sku text NOT NULL,
    amount_cents bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    refunded_at timestamptz
);
CREATE INDEX IF NOT EXISTS charges_by_order ON charges (order_key);
INSERT INTO products (sku, name, price_cents, stock)
    SELECT 'sku-' || lpad(n::text, 2, '0'), 'Product ' || n, 500 + 10 * n, 1000000000 FROM generate_series(1, 50) n
    UNION ALL VALUES ('declined-card', 'Paid with a card that is declined', 1000, 1000000000),
                     ('limited-edition', 'Only one hundred were made', 2500, 100)
    ON CONFLICT DO NOTHING;
"""
