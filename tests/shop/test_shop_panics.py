"""Panics in requests, in background tasks and in the periodic job, recovered and not."""

from __future__ import annotations

import signal

import pytest
import requests

from chaoskit.base.clock import now, wait_for

CLEAN = {"error": "Internal server error"}


@pytest.mark.parametrize(
    ("point", "path"),
    [
        ("orders/get-product", "/products/sku-01"),
        ("orders/get-order", "/orders/1"),
        ("orders/place", "/orders"),
    ],
)
def test_a_panic_ends_one_request_only(start, payments, point, path):
    """Exactly the poisoned request gets a clean 500; it is logged with stack and trace id, and counted."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    orders.fail(point, '1*panic("boom")')
    answer = orders.order() if path == "/orders" else orders.get(path)
    assert (answer.status_code, answer.json()) == (500, CLEAN)
    after = orders.order() if path == "/orders" else orders.get(path)
    assert after.status_code in (200, 201, 404)
    assert orders.metric("panics_recovered_total") == 1
    [line] = orders.lines("panic recovered")
    assert "Traceback" in line["stack"]
    assert len(line["trace_id"]) == 32
    assert orders.process.poll() is None


def test_payments_recovers_as_well(start):
    """A panic in payments is its own clean 500."""
    payments = start("payments")
    payments.fail("payments/charge", '1*panic("boom")')
    charge = {"order_key": "panicked", "amount": 5, "sku": "sku-01"}
    first, second = (requests.post(payments.url + "/charges", json=charge, timeout=5) for _ in range(2))
    assert (first.status_code, first.json(), second.status_code) == (500, CLEAN, 201)


def test_without_recovery_a_panic_ends_the_process(start):
    """RECOVERY=off: the process is gone at once, with status 2 and the stack in its log."""
    orders = start("orders", RECOVERY="off")
    orders.fail("orders/get-product", "panic")
    with pytest.raises(requests.ConnectionError):
        orders.get("/products/sku-01")
    assert orders.process.wait(5) == 2
    assert "Traceback" in orders.lines("panic")[0]["stack"]


def test_a_leaky_recovery_shows_the_stack(start):
    """RECOVERY_BODY=leaky: internals reach the client."""
    orders = start("orders", RECOVERY_BODY="leaky")
    orders.fail("orders/get-product", "panic")
    assert "Traceback" in orders.get("/products/sku-01").text


def test_a_panic_in_a_task_is_counted_and_the_work_is_done_later(start, rig, payments):
    """The worker lives; the row it failed on comes again and is notified once."""
    worker = start("worker", PAYMENTS_URL=payments.url)
    worker.fail("worker/task", '2*panic("boom")')
    order_id = start("orders", PAYMENTS_URL=payments.url).order().json()["order_id"]
    wait_for(lambda: rig.count("notifications WHERE order_id = %s", order_id), what="notification", limit=30)
    assert worker.metric("worker_task_errors_total") == 2
    assert "Traceback" in worker.lines("task panic recovered")[0]["stack"]
    assert rig.count("notifications WHERE order_id = %s", order_id) == 1


def test_without_worker_recovery_a_task_ends_the_process(start, payments):
    """WORKER_RECOVERY=off: one bad row and the worker is gone."""
    worker = start("worker", PAYMENTS_URL=payments.url, WORKER_RECOVERY="off")
    worker.fail("worker/task", "panic")
    start("orders", PAYMENTS_URL=payments.url).order()
    assert worker.process.wait(10) == 2


def test_a_killed_worker_loses_no_claimed_row(start, rig, payments):
    """Rows claimed by a worker that was killed come due again when its lease ends."""
    worker = start("worker", PAYMENTS_URL=payments.url, WORKER_LEASE_S="1")
    worker.fail("worker/task", "sleep(60000)")
    order_id = start("orders", PAYMENTS_URL=payments.url).order().json()["order_id"]
    wait_for(lambda: rig.count("outbox WHERE order_id = %s AND attempts > 0", order_id), what="claim", limit=20)
    worker.stop(signal.SIGKILL)
    start("worker", PAYMENTS_URL=payments.url)
    wait_for(lambda: rig.count("notifications WHERE order_id = %s", order_id), what="notification", limit=30)
    assert rig.count("notifications WHERE order_id = %s", order_id) == 1


def test_the_job_survives_a_panic_and_runs_again(start):
    """The tick after a failed run comes as usual."""
    worker = start("worker", WORKER_JOB_PERIOD_S="0.1")
    worker.fail("worker/job", "2*panic")
    wait_for(lambda: worker.metric("worker_job_errors_total") == 2, what="two failed runs", limit=20)
    runs = worker.metric("worker_job_runs_total")
    wait_for(lambda: worker.metric("worker_job_runs_total") > runs + 2, what="more runs", limit=20)


def test_a_job_that_outlives_its_period_does_not_pile_up(start):
    """Guarded, tasks stay as they were and the job ends at its limit; overlapping, each tick adds one."""
    fast = {"WORKER_JOB_PERIOD_S": "0.05", "WORKER_JOB_LIMIT_S": "0.3"}
    guarded = start("worker", **fast)
    overlapping = start("worker", **fast, WORKER_JOB="overlapping")
    before = guarded.metric("asyncio_tasks")
    for worker in (guarded, overlapping):
        worker.fail("worker/job", "hang")
    wait_for(lambda: overlapping.metric("asyncio_tasks") > before + 10, what="tasks to grow", limit=30)
    assert guarded.metric("asyncio_tasks") <= before + 2
    wait_for(lambda: guarded.lines("job given up"), what="the limit", limit=20)
    started = now()
    assert overlapping.stop() == 0
    assert now() - started < 5


def test_a_hanging_row_does_not_hold_up_the_others(start, rig, payments):
    """A row that hangs is put off when its claim ends; the rows claimed with it are done."""
    worker = start("worker", PAYMENTS_URL=payments.url, WORKER_LEASE_S="0.5", WORKER_TASKS="1")
    worker.fail("worker/task", "1*hang")
    orders = start("orders", PAYMENTS_URL=payments.url)
    placed = [orders.order().json()["order_id"] for _ in range(5)]
    wait_for(lambda: rig.count("notifications WHERE order_id = ANY(%s)", placed) == 5, what="all five", limit=30)
    assert [line["reason"] for line in worker.lines("put off")] == ["TimeoutError"]
