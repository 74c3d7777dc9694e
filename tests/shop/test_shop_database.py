"""The database breaks, slows down or refuses, and what the pool makes of it."""

from __future__ import annotations

import os
import resource
import signal

import psycopg
import pytest
import requests

from chaoskit.base.clock import now, wait_for

_OURS = "pg_stat_activity WHERE application_name = 'shop-orders'"


def drop_connections(rig):
    """End every connection of orders on the server's side."""
    rig.sql(f"SELECT pg_terminate_backend(pid) FROM {_OURS}")
    wait_for(lambda: rig.count(_OURS) == 0, what="connections to be gone", limit=20)


def statuses(orders, count, **more):
    """The statuses of so many orders, one after the other."""
    return [orders.order(**more).status_code for _ in range(count)]


def test_no_request_fails_on_a_stale_connection(start, rig, payments):
    """After one burst of dropped connections every request still succeeds."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    for _ in range(3):
        assert statuses(orders, 12) == [201] * 12
        drop_connections(rig)
    assert statuses(orders, 12) == [201] * 12
    assert orders.metric("db_pool_discarded_total") >= 10


def test_a_poisoned_pool_keeps_failing(start, rig, payments):
    """ORDERS_POOL=poisoned: broken connections are lent out again and again."""
    orders = start("orders", PAYMENTS_URL=payments.url, ORDERS_POOL="poisoned", DB_POOL_SIZE="3")
    assert statuses(orders, 3) == [201] * 3
    drop_connections(rig)
    assert statuses(orders, 12).count(503) >= 9


@pytest.mark.parametrize(("pool", "good"), [("hardened", True), ("deferred-release", False)])
def test_connections_are_not_held_across_the_payment(start, payments, together, pool, good):
    """Two connections serve twenty slow payments at once, unless each is held for the whole request."""
    payments.script = lambda _: 0.6
    limits = {"DB_POOL_SIZE": "2", "DB_ACQUIRE_TIMEOUT_S": "2"}
    orders = start("orders", PAYMENTS_URL=payments.url, ORDERS_POOL=pool, **limits)
    answers = together(20, orders.order)
    paid = sum(answer.status_code == 201 for answer in answers)
    assert paid == 20 if good else paid <= 12
    for answer in answers:
        assert answer.status_code == 201 or (
            answer.json() == {"error": "database_busy"} and "retry-after" in answer.headers
        )
    assert orders.metric("db_pool_in_use") == 0
    assert orders.metric("db_pool_waiting") == 0


def test_waiters_are_bounded(start, rig, together):
    """Above DB_MAX_WAITING a request is refused at once instead of joining the queue."""
    orders = start("orders", DB_POOL_SIZE="1", DB_MAX_WAITING="2", DB_STATEMENT_TIMEOUT_S="2")
    with psycopg.connect(rig.database_url) as blocker:
        blocker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        answers = together(10, lambda: orders.get("/orders/x"))
    errors = [answer.json()["error"] for answer in answers]
    assert {answer.status_code for answer in answers} == {503}
    assert errors.count("database_overloaded") >= 5


def test_a_stuck_statement_is_given_up_in_time(start, rig, payments):
    """A statement that waits for a lock ends within its limit, and the connection is usable again."""
    orders = start("orders", PAYMENTS_URL=payments.url, DB_STATEMENT_TIMEOUT_S="1")
    with psycopg.connect(rig.database_url) as blocker:
        blocker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        started = now()
        assert orders.order().status_code == 503
        assert now() - started < 4
    assert statuses(orders, 10) == [201] * 10


def test_a_server_that_falls_silent_is_cut_off(start, rig, payments):
    """When the server's side hangs, the request ends within the limit and others get new connections."""
    orders = start("orders", PAYMENTS_URL=payments.url, DB_POOL_SIZE="2", DB_STATEMENT_TIMEOUT_S="1")
    stopped = [pid for (pid,) in rig.sql(f"SELECT pid FROM {_OURS}")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        started = now()
        assert statuses(orders, 2) == [503, 503]
        assert now() - started < 8
        assert statuses(orders, 5) == [201] * 5
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_orders_recovers_by_itself_when_the_database_returns(start, rig, payments):
    """While PostgreSQL is down answers are 503 in bounded time; soon after its return all is well."""
    orders = start("orders", PAYMENTS_URL=payments.url, DB_ACQUIRE_TIMEOUT_S="1")
    rig.postgres.stop(signal.SIGINT)
    try:
        started = now()
        assert statuses(orders, 3) == [503] * 3
        assert now() - started < 8
        assert orders.get("/healthz").status_code == 200
        assert orders.get("/readyz").status_code == 503
    finally:
        rig.restart_postgres()
    returned = now()
    wait_for(lambda: orders.order().status_code == 201, what="orders to work again", limit=30)
    assert now() - returned < 8
    assert statuses(orders, 12) == [201] * 12


def test_a_full_queue_does_not_outlive_the_outage(start, rig, payments, together):
    """More callers than may wait, while PostgreSQL is down: they are gone when it returns, and others are served."""
    orders = start("orders", PAYMENTS_URL=payments.url, DB_MAX_WAITING="4", DB_ACQUIRE_TIMEOUT_S="1")
    rig.postgres.stop(signal.SIGINT)
    try:
        for _ in range(2):
            assert {answer.status_code for answer in together(10, orders.order)} == {503}
    finally:
        rig.restart_postgres()
    wait_for(lambda: orders.order().status_code == 201, what="orders to work again", limit=30)
    assert statuses(orders, 5) == [201] * 5


def test_processes_start_before_their_database(start, rig):
    """Alive at once, ready when the database is there."""
    rig.postgres.stop(signal.SIGINT)
    try:
        processes = [start(service, wait=False) for service in ("orders", "payments", "worker")]

        def alive():
            try:
                return all(process.get("/healthz").status_code == 200 for process in processes)
            except requests.ConnectionError:
                return False

        wait_for(alive, what="health", limit=30)
        assert processes[0].order().json() == {"error": "database_not_ready"}
    finally:
        rig.restart_postgres()
    for process in processes:
        process.ready()


def test_an_acknowledged_order_is_in_the_database(start, rig, payments):
    """Killed right after its answer, the process has lost nothing."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    order_id = orders.order().json()["order_id"]
    orders.stop(signal.SIGKILL)
    assert rig.count("orders WHERE order_id = %s", order_id) == 1


def test_an_early_acknowledgement_can_be_lost(start, rig, payments):
    """ORDERS_ACK=early: the client was told 201, and the order died with the process."""
    orders = start("orders", PAYMENTS_URL=payments.url, ORDERS_ACK="early")
    kept = orders.order().json()["order_id"]
    wait_for(lambda: rig.count("orders WHERE order_id = %s", kept), what="the late insert", limit=20)
    answer = orders.order()
    orders.stop(signal.SIGKILL)
    assert answer.status_code == 201
    assert rig.count("orders WHERE order_id = %s", answer.json()["order_id"]) == 0


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_conflict_is_retried_as_a_whole(start, rig, payments, state):
    """Deadlock and serialization failure: rolled back, repeated, one order, one piece of stock."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    orders.fail("orders/commit", f'2*return("{state}")')
    stock = rig.sql("SELECT stock FROM products WHERE sku = 'sku-20'")[0][0]
    answer = orders.order("sku-20", request_id=f"conflict-{state}")
    assert answer.status_code == 201
    assert rig.count("orders WHERE request_id = %s", f"conflict-{state}") == 1
    assert rig.sql("SELECT stock FROM products WHERE sku = 'sku-20'")[0][0] == stock - 1
    assert orders.metric("db_conflict_retries_total") == 2


def test_what_cannot_be_mended_is_not_retried(start, payments):
    """A unique violation is final, and so is a conflict with CONFLICT_RETRIES=off."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    orders.fail("orders/commit", '1*return("23505")')
    assert orders.order().status_code == 409
    assert orders.metric("db_conflict_retries_total") == 0
    fragile = start("orders", PAYMENTS_URL=payments.url, CONFLICT_RETRIES="off")
    fragile.fail("orders/commit", '1*return("40P01")')
    assert fragile.order().json() == {"error": "transaction_conflict"}


@pytest.mark.parametrize(("handles", "status"), [("per-iteration", 200), ("deferred", 503)])
def test_an_import_keeps_few_files_open(start, handles, status):
    """Under a low descriptor limit a long import works, unless every file stays open to the end."""
    orders = start("orders", HANDLES=handles)
    resource.prlimit(orders.process.pid, resource.RLIMIT_NOFILE, (80, 4096))
    answer = requests.post(orders.url + "/imports", json={"parts": 300}, timeout=10)
    assert answer.status_code == status, answer.text
    assert orders.get("/products/sku-01").status_code == 200
