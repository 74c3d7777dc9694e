"""The main flows over all three processes, hardened."""

from __future__ import annotations

import json
import signal

import pytest

from chaoskit.base.clock import now, wait_for


@pytest.fixture
def shop(start):
    """All three processes."""
    payments = start("payments", wait=False)
    worker = start("worker", wait=False, PAYMENTS_URL=payments.url)
    orders = start("orders", wait=False, PAYMENTS_URL=payments.url)
    for process in (payments, worker, orders):
        process.ready()
    return orders, payments, worker


def test_an_order_is_paid_once_stored_and_notified(shop, rig):
    """One order leaves one charge, one row, less stock and one notification; repeating it changes nothing."""
    orders = shop[0]
    stock = rig.sql("SELECT stock FROM products WHERE sku = 'sku-07'")[0][0]
    answer = orders.order("sku-07", quantity=3, request_id="flow-1")
    assert answer.status_code == 201
    assert answer.json().keys() == {"order_id", "status", "request_id"}
    assert (answer.json()["status"], answer.json()["request_id"]) == ("paid", "flow-1")
    again = orders.order("sku-07", quantity=3, request_id="flow-1")
    assert (again.status_code, again.json()) == (200, answer.json())
    assert again.headers["x-idempotent-replay"] == "true"
    order_id = answer.json()["order_id"]
    wait_for(lambda: rig.count("notifications WHERE order_id = %s", order_id), what="notification", limit=20)
    assert rig.count("charges WHERE order_key = 'flow-1' AND amount_cents = 3 * 570") == 1
    assert rig.count("orders WHERE request_id = 'flow-1'") == 1
    assert rig.sql("SELECT stock FROM products WHERE sku = 'sku-07'")[0][0] == stock - 3
    shown = orders.get(f"/orders/{order_id}").json()
    assert shown == answer.json() | {"user": shown["user"], "sku": "sku-07", "quantity": 3, "amount": 1710}


def test_one_trace_crosses_all_processes(shop):
    """The caller's trace id is on the log lines of orders, payments and worker; so is the request id."""
    orders, payments, worker = shop
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    orders.order(headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, request_id="traced")
    for process, event in ((orders, "request"), (payments, "request"), (worker, "settled")):
        lines = wait_for(lambda p=process, e=event: p.lines(e), what=event, limit=20)
        assert [line["trace_id"] for line in lines] == [trace]
        assert lines[0]["request_id"] == "traced"
        assert list(lines[0])[:7] == [
            "timestamp",
            "level",
            "trace_id",
            "span_id",
            "service",
            "event",
            "retry_count",
        ]
    spans = {json.dumps(line["span_id"]) for p in shop[:2] for line in p.lines("request")}
    assert len(spans) == 2


def test_health_and_metrics_on_each_process(shop):
    """Every process answers its health checks and names itself in its metrics."""
    for process, service in zip(shop, ("orders", "payments", "worker"), strict=True):
        assert process.get("/healthz").json() == {"status": "alive", "service": service}
        page = process.get("/metrics").text
        assert f'panics_recovered_total{{service="{service}"}} 0.0' in page
        assert f'db_pool_in_use{{service="{service}"}}' in page


def test_bad_requests_are_refused_with_json(shop):
    """What is unknown or malformed gets 4xx and JSON, and is no panic."""
    orders = shop[0]
    assert orders.order("no-such-sku").status_code == 404
    assert orders.order(quantity=0).status_code == 400
    assert orders.order(quantity="many").status_code == 400
    assert orders.get("/orders/nothing").json() == {"error": "unknown_order"}
    assert orders.get("/products/nothing").status_code == 404
    assert orders.get("/nothing").json() == {"error": "Not Found"}
    assert orders.metric("panics_recovered_total") == 0


def test_a_declined_card_is_402_after_one_attempt(shop):
    """A refusal by payments reaches the client and is not retried."""
    orders = shop[0]
    answer = orders.order("declined-card")
    assert (answer.status_code, answer.json()) == (402, {"error": "declined"})
    assert orders.metric("payment_attempts_total") == 1


def test_sold_out_goods_are_refused_and_refunded(shop, rig):
    """Stock never goes below zero; who paid for what was not there any more gets the money back."""
    orders = shop[0]
    answer = orders.order("limited-edition", quantity=101, request_id="too-many")
    assert (answer.status_code, answer.json()) == (409, {"error": "out_of_stock"})
    refunded = "charges WHERE order_key = 'too-many' AND refunded_at IS NOT NULL"
    wait_for(lambda: rig.count(refunded), what="refund", limit=20)
    assert rig.sql("SELECT stock FROM products WHERE sku = 'limited-edition'") == [(100,)]
    assert rig.count("orders WHERE request_id = 'too-many'") == 0


def test_a_deferred_order_is_settled_exactly_once(shop, rig):
    """While payments fails orders are accepted as pending; after it heals each is charged and notified once."""
    orders, payments, _ = shop
    payments.fail("payments/charge", 'return("503")')
    keys = [f"deferred-{n}" for n in range(5)]
    for key in keys:
        answer = orders.order(request_id=key)
        assert (answer.status_code, answer.json()["status"]) == (201, "payment_pending")
        assert answer.headers["x-degraded"] == "deferred"
    payments.heal("payments/charge")
    settled = "orders WHERE request_id = ANY(%s) AND status = 'paid'"
    wait_for(lambda: rig.count(settled, keys) == 5, what="settling", limit=30)
    assert rig.count("charges WHERE order_key = ANY(%s)", keys) == 5
    wait_for(
        lambda: rig.count("notifications JOIN orders USING (order_id) WHERE request_id = ANY(%s)", keys) == 5,
        what="notifications",
        limit=20,
    )


def test_sigterm_stops_each_process_cleanly_and_soon(shop, together):
    """A polite stop ends with status 0 within three seconds, and the request under way is finished first."""
    orders, payments, worker = shop
    payments.fail("payments/charge", "sleep(250)")

    def stop_under_way():
        wait_for(lambda: orders.metric("http_requests_in_flight"), what="a request", limit=20)
        started = now()
        assert orders.stop(signal.SIGTERM) == 0
        assert now() - started < 4

    calls = iter((orders.order, stop_under_way))
    answer, _ = together(2, lambda: next(calls)())
    assert answer.status_code == 201
    for process in (payments, worker):
        started = now()
        assert process.stop(signal.SIGTERM) == 0
        assert now() - started < 4
        assert process.lines("stopped")
