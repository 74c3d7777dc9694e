"""What rests on Redis: rate limit, lock and cache; and what is left when Redis is not there."""

from __future__ import annotations

import signal
import uuid

import psycopg
import pytest

from chaoskit.base.clock import now, wait_for


@pytest.fixture
def redis_down(rig):
    """A function that stops Redis; it is started again after the test."""
    yield lambda: rig.redis.stop(signal.SIGKILL)
    if rig.redis.process.poll() is not None:
        rig.redis = rig.start_redis()


@pytest.fixture
def redis_silent(rig):
    """A function that makes Redis hang; it goes on after the test."""
    yield lambda: rig.redis.process.send_signal(signal.SIGSTOP)
    rig.redis.process.send_signal(signal.SIGCONT)


def test_exactly_the_allowed_number_passes(start, payments, together):
    """Fifty orders of one user at once, ten allowed: ten pass, forty get 429, and another user passes."""
    orders = start("orders", PAYMENTS_URL=payments.url, RATE_LIMIT_MAX="10")
    user = uuid.uuid4().hex
    answers = together(50, lambda: orders.order(user=user))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(refused), sum(answer.status_code == 201 for answer in answers)) == (40, 10)
    assert refused[0].json() == {"error": "rate_limited"}
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    assert orders.order().status_code == 201
    assert orders.metric("rate_limited_total") == 40


def test_the_window_slides(start, payments):
    """Once the window has passed the user may order again."""
    orders = start("orders", PAYMENTS_URL=payments.url, RATE_LIMIT_MAX="2", RATE_LIMIT_WINDOW_S="3")
    user = uuid.uuid4().hex
    assert [orders.order(user=user).status_code for _ in range(3)] == [201, 201, 429]
    started = now()
    wait_for(lambda: orders.order(user=user).status_code == 201, what="the window to pass", limit=20)
    assert now() - started < 6


def test_without_rate_limit_all_pass(start, payments):
    """RATE_LIMIT=off."""
    orders = start("orders", PAYMENTS_URL=payments.url, RATE_LIMIT="off", RATE_LIMIT_MAX="1")
    user = uuid.uuid4().hex
    assert {orders.order(user=user).status_code for _ in range(4)} == {201}


@pytest.mark.parametrize(("on_error", "status"), [("open", 201), ("closed", 503)])
def test_the_rate_limit_without_redis_is_as_configured(start, payments, redis_down, on_error, status):
    """Open lets orders pass, closed refuses them (the lock is off here: it has its own answer)."""
    orders = start("orders", PAYMENTS_URL=payments.url, RATE_LIMIT_ON_ERROR=on_error, ORDERS_LOCK="off")
    redis_down()
    answer = orders.order()
    assert answer.status_code == status
    assert status == 201 or answer.json() == {"error": "rate_limit_unavailable"}


def test_without_a_lock_server_orders_are_refused(start, rig, payments, redis_down):
    """Fail closed: 503 with Retry-After and no order; it works again as soon as Redis does."""
    orders = start("orders", PAYMENTS_URL=payments.url)
    redis_down()
    answer = orders.order(request_id=(key := uuid.uuid4().hex))
    assert (answer.status_code, answer.json()) == (503, {"error": "lock_unavailable"})
    assert answer.headers["retry-after"] == "1"
    rig.redis = rig.start_redis()
    assert orders.order(request_id=key).status_code == 201
    assert rig.count("orders WHERE request_id = %s", key) == 1


def test_a_silent_redis_costs_little(start, payments, redis_silent):
    """Two time limits of Redis, not the client's patience; products are still served."""
    orders = start("orders", PAYMENTS_URL=payments.url, REDIS_TIMEOUT_S="0.12")
    orders.order()
    redis_silent()
    started = now()
    assert orders.order().status_code == 503
    assert now() - started < 3
    assert orders.get("/products/sku-40").status_code == 200


@pytest.mark.parametrize("lock", ["on", "off"])
def test_duplicates_sent_at_once_make_one_order(start, rig, payments, together, lock):
    """Eight submits of the same order: one row and the same answer for all; without the lock, several rows."""
    payments.script = lambda _: 0.2
    orders = start("orders", PAYMENTS_URL=payments.url, ORDERS_LOCK=lock)
    answers = together(8, lambda: orders.order(user="same", request_id=f"duplicate-{lock}"))
    rows = rig.count("orders WHERE request_id = %s", f"duplicate-{lock}")
    if lock == "on":
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len({answer.json()["order_id"] for answer in answers}) == 1
        assert rows == 1
    else:
        assert rows > 1


def test_a_duplicate_of_a_long_order_is_told_so(start, payments, together):
    """The wait for the first one is brief: 409."""
    payments.script = lambda _: 1.0
    orders = start("orders", PAYMENTS_URL=payments.url, LOCK_WAIT_S="0.1")
    answers = together(2, lambda: orders.order(user="same", request_id="long"))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert next(a.json() for a in answers if a.status_code == 409) == {"error": "duplicate_in_progress"}


@pytest.mark.parametrize(("lease", "status"), [("on", 201), ("off", 409)])
def test_the_lock_of_a_dead_process_ends_with_its_lease(start, rig, payments, together, lease, status):
    """Killed while holding the lock: the next process gets it when the lease ends, or never without one."""
    payments.script = lambda _: 10.0
    settings = {"LEASE": lease, "LOCK_LEASE_S": "3", "LOCK_WAIT_S": "5", "DB_STATEMENT_TIMEOUT_S": "1"}
    first = start("orders", PAYMENTS_URL=payments.url, PAYMENT_TIMEOUT="off", **settings)
    second = start("orders", PAYMENTS_URL=payments.url, **settings)
    key = f"lease-{lease}"

    def interrupted():
        with pytest.raises(OSError):
            first.order(request_id=key)

    def kill_and_try():
        wait_for(lambda: payments.calls, what="the first order to hold the lock", limit=20)
        first.stop(signal.SIGKILL)
        payments.script = lambda _: 201
        return second.order(request_id=key)

    calls = iter((interrupted, kill_and_try))
    _, answer = together(2, lambda: next(calls)())
    assert answer.status_code == status
    assert rig.count("orders WHERE request_id = %s", key) == (1 if lease == "on" else 0)


def test_an_order_that_outlives_its_lease_is_not_stored(start, rig, payments):
    """Somebody else may hold the lock by then, so the slow holder gives up instead of making a duplicate."""
    payments.script = lambda _: 2.0
    orders = start("orders", PAYMENTS_URL=payments.url, LOCK_LEASE_S="1.5", DB_STATEMENT_TIMEOUT_S="1")
    assert orders.order(request_id="outlived").json() == {"error": "lock_lost"}
    assert rig.count("orders WHERE request_id = 'outlived'") == 0


def test_a_lock_lost_in_a_restart_of_redis_makes_no_duplicate(start, rig, payments, together, redis_down):
    """Redis forgets the lock while an order is being paid: its holder gives up, the duplicate makes the order."""
    payments.script = lambda n: 0.6 if n == 0 else 201
    orders = start("orders", PAYMENTS_URL=payments.url)

    def repeat():
        wait_for(lambda: payments.calls, what="the first order to hold the lock", limit=20)
        redis_down()
        rig.redis = rig.start_redis()
        return orders.order(request_id="forgotten")

    calls = iter((lambda: orders.order(request_id="forgotten"), repeat))
    statuses = [answer.status_code for answer in together(2, lambda: next(calls)())]
    assert sorted(statuses) in ([201, 503], [200, 201])
    assert rig.count("orders WHERE request_id = 'forgotten'") == 1


def test_products_come_from_the_nearest_cache(start):
    """The first lookup loads from the database, the next ones do not."""
    orders = start("orders", LOCAL_CACHE_TTL_S="60")
    for _ in range(5):
        assert orders.get("/products/sku-41").json() == {"sku": "sku-41", "name": "Product 41", "price": 910}
    page = orders.get("/metrics").text
    assert 'cache_lookups_total{service="orders",source="database"} 1.0' in page
    assert 'cache_lookups_total{service="orders",source="local"} 4.0' in page


@pytest.mark.parametrize(("flight", "most", "least"), [("on", 1, 1), ("off", 30, 5)])
def test_concurrent_misses_load_once(start, rig, together, flight, most, least):
    """Thirty lookups of a product nobody has cached, on a slow database: one load, or many without single-flight."""
    orders = start("orders", SINGLE_FLIGHT=flight)
    sku = "sku-42" if flight == "on" else "sku-43"
    with psycopg.connect(rig.database_url) as blocker:
        blocker.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        blocker.execute("SELECT 1")

        def look(turn=iter(range(31))):  # noqa: B008  # shared by the threads on purpose
            if next(turn) == 30:
                wait_for(lambda: orders.metric("http_requests_in_flight") == 30, what="all to wait", limit=20)
                blocker.rollback()
                return 200
            return orders.get(f"/products/{sku}").status_code

        assert set(together(31, look)) == {200}
    found = orders.get("/metrics").text.split('source="database"} ')[1].split("\n")[0]
    assert least <= float(found) <= most


@pytest.mark.parametrize(("negative", "loads"), [("on", 1), ("off", 5)])
def test_unknown_products_do_not_reach_the_database_each_time(start, negative, loads):
    """That a product does not exist is remembered for a while."""
    orders = start("orders", NEGATIVE_CACHE=negative)
    sku = f"unknown-{negative}"
    assert [orders.get(f"/products/{sku}").status_code for _ in range(5)] == [404] * 5
    assert f'source="database"}} {loads}.0' in orders.get("/metrics").text


def test_the_database_is_spared_while_the_cache_is_down(start, redis_down):
    """Without Redis, memory bounds the loads to one per product and second."""
    orders = start("orders")
    redis_down()
    started = now()
    answers = [orders.get("/products/sku-44") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    found = orders.get("/metrics").text.split('source="database"} ')[1].split("\n")[0]
    assert float(found) <= now() - started + 1


def test_an_old_copy_is_served_when_nothing_fresher_can_be_reached(start, rig, redis_down):
    """Redis and PostgreSQL down: what was seen before is served and marked; what was not is 503."""
    orders = start("orders", LOCAL_CACHE_TTL_S="0", DB_ACQUIRE_TIMEOUT_S="1")
    fresh = orders.get("/products/sku-45")
    assert "x-degraded" not in fresh.headers
    redis_down()
    rig.postgres.stop(signal.SIGINT)
    try:
        stale = orders.get("/products/sku-45")
        assert (stale.status_code, stale.json(), stale.headers["x-degraded"]) == (200, fresh.json(), "cache")
        assert orders.get("/products/sku-46").status_code == 503
    finally:
        rig.restart_postgres()
    assert orders.metric("fallback_total") == 1
