"""Calls to payments that fail, hang or are refused: time limits, retries, breaker, fallback."""

from __future__ import annotations

import statistics
import time
import uuid
from itertools import pairwise

import pytest
import requests

from chaoskit.base.clock import now, wait_for

PENDING = (201, "payment_pending")


def outcome(answer):
    """Status and order status of an answer."""
    return answer.status_code, answer.json().get("status")


def gaps(payments, key):
    """The seconds between the attempts for one order."""
    times = [at for at, order_key, _ in payments.calls if order_key == key]
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("trouble", ["reset", 502, 503, 504, 2.0])
def test_a_passing_failure_is_mended_by_retries(start, payments, trouble):
    """Reset, 502, 503, 504 or no answer in time, once: the order is paid by the second attempt with the same key."""
    payments.script = lambda n: trouble if n == 0 else 201
    orders = start("orders", PAYMENTS_URL=payments.url, PAYMENT_ATTEMPT_TIMEOUT_S="1")
    assert outcome(orders.order(request_id=(key := uuid.uuid4().hex))) == (201, "paid")
    assert [headers["idempotency-key"] for _, _, headers in payments.calls] == [key, key]
    assert [headers["x-retry-count"] for _, _, headers in payments.calls] == ["0", "1"]
    assert orders.metric("retries_total") == 1
    assert orders.lines("request")[-1]["retry_count"] == 1


@pytest.mark.parametrize(("status", "answer"), [(402, 402), (400, 502), (404, 502), (429, 502)])
def test_a_refusal_is_not_retried(start, payments, status, answer):
    """4xx is a decision: one attempt."""
    payments.script = lambda _: status
    orders = start("orders", PAYMENTS_URL=payments.url)
    assert orders.order().status_code == answer
    assert len(payments.calls) == 1


def test_retries_back_off_with_growth_and_spread(start, payments):
    """At most three attempts; gaps about double (from 0.2 s here), and differ between orders."""
    payments.script = lambda _: 503
    orders = start("orders", PAYMENTS_URL=payments.url, BREAKER="off", RETRY_BASE_S="0.2")
    keys = [f"backoff-{n}-{uuid.uuid4().hex}" for n in range(10)]
    for key in keys:
        assert outcome(orders.order(request_id=key)) == PENDING
    seen = [gaps(payments, key) for key in keys]
    assert {len(pair) for pair in seen} == {2}
    first, second = zip(*seen, strict=True)
    assert 1.5 < statistics.mean(second) / statistics.mean(first) < 2.5
    assert statistics.stdev(first) / statistics.mean(first) > 0.05
    assert min(first) > 0.14


@pytest.mark.parametrize(
    ("mode", "attempts", "low", "high"), [("off", 1, 0, 0), ("eager", 10, 0, 0.05), ("fixed", 3, 0.095, 0.2)]
)
def test_fragile_retry_modes(start, payments, mode, attempts, low, high):
    """One attempt; ten at once; a constant gap."""
    payments.script = lambda _: 503
    orders = start("orders", PAYMENTS_URL=payments.url, RETRIES=mode)
    assert outcome(orders.order(request_id=(key := uuid.uuid4().hex))) == PENDING
    assert len(payments.calls) == attempts
    assert low <= statistics.median(gaps(payments, key) or [0]) <= high


def test_retrying_everything_repeats_refusals(start, payments):
    """RETRIES=everything: three attempts at a request that is wrong."""
    payments.script = lambda _: 400
    orders = start("orders", PAYMENTS_URL=payments.url, RETRIES="everything")
    assert orders.order().status_code == 502
    assert len(payments.calls) == 3


@pytest.mark.parametrize("mode", ["bounded", "past-deadline"])
def test_no_attempt_after_the_deadline(start, payments, mode):
    """Within a second there is time for two attempts of 0.6 s; ignoring the deadline, they go on."""
    payments.script = lambda _: 1.5
    limits = {"ORDER_DEADLINE_S": "1", "PAYMENT_ATTEMPT_TIMEOUT_S": "0.6"}
    orders = start("orders", PAYMENTS_URL=payments.url, RETRIES=mode, **limits)
    assert outcome(orders.order()) == PENDING
    span = payments.calls[-1][0] - payments.calls[0][0]
    assert span < 1.0 if mode == "bounded" else span > 2.0


def test_the_callers_deadline_shortens_ours(start, payments):
    """A caller that waits half a second gets its answer then, and its deadline goes on to payments."""
    payments.script = lambda _: 4.0
    orders = start("orders", PAYMENTS_URL=payments.url)
    started = now()
    assert outcome(orders.order(headers={"x-request-timeout-ms": "500"})) == PENDING
    assert now() - started < 3
    assert len(payments.calls) == 1
    assert int(payments.calls[0][2]["x-request-timeout-ms"]) <= 500


def test_a_deadline_goes_on_as_time_left_or_as_a_moment(start, payments):
    """The time left says the same to any clock; a moment does not. Payments does no work for nobody."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    absolute = start("orders", PAYMENTS_URL=payments.url, DEADLINE="absolute")
    assert outcome(orders.order()) == outcome(absolute.order()) == (201, "paid")
    told, moment = payments.calls[0][2], payments.calls[1][2]
    assert ("x-request-timeout-ms" in told, "x-request-deadline-ms" in told) == (True, False)
    assert ("x-request-timeout-ms" in moment, "x-request-deadline-ms" in moment) == (False, True)
    assert abs(float(moment["x-request-deadline-ms"]) / 1000 - time.time()) < 60
    real = start("payments")
    for left, status in ((60, 201), (-60, 504)):
        headers = {"x-request-deadline-ms": str(round((time.time() + left) * 1000)), "idempotency-key": f"k{left}"}
        charge = {"order_key": f"k{left}", "amount": 1, "sku": "sku-01"}
        assert requests.post(real.url + "/charges", json=charge, headers=headers, timeout=10).status_code == status


def test_the_budget_bounds_retries(start, payments):
    """With everything failing, retries stay a fifth of the calls; without a budget they are twice the calls."""
    payments.script = lambda _: 503
    orders = start("orders", PAYMENTS_URL=payments.url, BREAKER="off", RETRY_BUDGET_MIN_PER_S="0")
    for _ in range(50):
        orders.order()
    assert 52 <= len(payments.calls) <= 61


@pytest.mark.parametrize(("limited", "slowest"), [("on", 3), ("off", None)])
def test_a_hanging_payment_is_cut_off(start, payments, limited, slowest):
    """The answer comes by the order's deadline, unless PAYMENT_TIMEOUT=off."""
    payments.script = lambda _: 4.0
    limits = {"ORDER_DEADLINE_S": "1", "PAYMENT_ATTEMPT_TIMEOUT_S": "0.3"}
    orders = start("orders", PAYMENTS_URL=payments.url, PAYMENT_TIMEOUT=limited, **limits)
    started = now()
    answer = orders.order()
    if slowest is not None:
        assert now() - started < slowest
        assert outcome(answer) == PENDING
        assert answer.headers["x-degraded"] == "deferred"
    else:
        assert now() - started >= 4.0


def test_without_fallback_the_order_is_refused(start, payments):
    """FALLBACK=off: 503, and the client is told when to come back."""
    payments.script = lambda _: 500
    orders = start("orders", PAYMENTS_URL=payments.url, FALLBACK="off")
    answer = orders.order()
    assert (answer.status_code, answer.json()) == (503, {"error": "payment_unavailable"})
    assert answer.headers["retry-after"] == "1"


def test_the_breaker_opens_probes_and_closes(start, payments):
    """While payments fails only probes reach it, about one a second; healed, the breaker soon closes."""
    payments.script = lambda _: 500
    orders = start("orders", PAYMENTS_URL=payments.url, BREAKER_WINDOW_S="30")
    for _ in range(20):
        assert outcome(orders.order()) == PENDING
    assert orders.metric("breaker_state") == 2
    opened = len(payments.calls)
    watched = now()
    while now() - watched < 2.5:
        assert outcome(orders.order()) == PENDING
    probes = [at for at, _, _ in payments.calls[opened:]]
    assert 1 <= len(probes) <= 3
    assert all(0.95 < later - earlier < 2 for earlier, later in pairwise(probes))
    assert orders.metric("breaker_rejected_total") > 10
    payments.script = lambda _: 201
    healed = now()
    wait_for(
        lambda: orders.order().json()["status"] == "paid" and orders.metric("breaker_state") == 0,
        what="the breaker to close",
        limit=20,
    )
    assert now() - healed < 6


def test_without_breaker_every_call_reaches_payments(start, payments):
    """BREAKER=off: a failing dependency gets the whole load."""
    payments.script = lambda _: 500
    orders = start("orders", PAYMENTS_URL=payments.url, BREAKER="off")
    for _ in range(40):
        orders.order()
    assert len(payments.calls) == 40


def test_retries_mend_without_opening_the_breaker(start, payments, together):
    """Three of ten attempts cut: the orders are paid all the same, and the breaker stays closed."""
    payments.script = lambda n: "reset" if n % 10 in (0, 3, 6) else 201
    orders = start("orders", PAYMENTS_URL=payments.url)
    answers = [answer for _ in range(15) for answer in together(4, orders.order)]
    assert sum(outcome(answer) == (201, "paid") for answer in answers) >= 57
    assert orders.metric("breaker_state") == 0


@pytest.mark.parametrize(("idempotency", "charges"), [("on", 1), ("off", 2)])
def test_a_repeated_charge_has_one_effect(start, rig, idempotency, charges):
    """The same key charged twice is one charge, unless payments does not look at keys."""
    payments = start("payments", IDEMPOTENCY=idempotency)
    key = f"twice-{idempotency}"
    body = {"order_key": key, "amount": 700, "sku": "sku-01"}
    answers = [requests.post(payments.url + "/charges", json=body, timeout=5) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert rig.count("charges WHERE order_key = %s", key) == charges


def test_a_charge_whose_answer_was_lost_is_not_made_twice(start, rig):
    """Payments charges but answers too late; orders defers, the worker repeats: one charge."""
    payments = start("payments")
    key = uuid.uuid4().hex
    orders = start("orders", PAYMENTS_URL=payments.url, RETRIES="off", PAYMENT_ATTEMPT_TIMEOUT_S="0.3")
    requests.post(payments.url + "/charges", json={"order_key": key, "amount": 510, "sku": "sku-01"}, timeout=5)
    payments.fail("payments/charge", "1*sleep(600)")
    assert outcome(orders.order(request_id=key)) == PENDING
    start("worker", PAYMENTS_URL=payments.url)
    wait_for(lambda: rig.count("orders WHERE request_id = %s AND status = 'paid'", key), what="settling", limit=30)
    assert rig.count("charges WHERE order_key = %s", key) == 1


def test_a_deferred_payment_that_is_declined_gives_the_goods_back(start, rig, payments):
    """The order ends as payment_declined and its stock returns."""
    payments.script = lambda _: 500
    stock = rig.sql("SELECT stock FROM products WHERE sku = 'sku-31'")[0][0]
    orders = start("orders", PAYMENTS_URL=payments.url)
    order_id = orders.order("sku-31", quantity=4).json()["order_id"]
    assert rig.sql("SELECT stock FROM products WHERE sku = 'sku-31'")[0][0] == stock - 4
    payments.script = lambda _: 402
    start("worker", PAYMENTS_URL=payments.url)
    wait_for(lambda: orders.get(f"/orders/{order_id}").json()["status"] == "payment_declined", what="it", limit=30)
    assert rig.sql("SELECT stock FROM products WHERE sku = 'sku-31'")[0][0] == stock
