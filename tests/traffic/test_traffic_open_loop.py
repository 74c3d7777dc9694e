"""When requests are sent, against a real server: the schedule, the open loop, stop and end."""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from chaoskit.base.clock import now, sleep_until, wait_for
from chaoskit.traffic.spec import Operation, Stream


def test_a_stream_sends_exactly_its_schedule(traffic: Any, shop: Any) -> None:
    """50/s for a second is 50 requests, each intended 20 ms after the one before, none sent early."""
    start = traffic.run(shop, traffic.order(rate=50.0), {"until": now() + 100, "count": 50, "rate": 50.0}, length=1.1)
    rows = traffic.requests
    assert [row.seq for row in rows] == list(range(50))
    assert all(row.intended == pytest.approx(start + row.seq / 50, abs=1e-6) for row in rows)
    assert all(row.intended <= row.sent <= row.ended for row in rows)
    assert all(row.ok and row.status == 201 and row.error is None for row in rows)
    (schedule,) = traffic.schedules
    assert (schedule.planned, schedule.sent) == (50, 50)
    assert 0 <= schedule.lag_p50 <= schedule.lag_p99 <= schedule.lag_max
    assert len(shop.seen) == 50


def test_an_endless_stream_ends_without_losing_what_was_due(traffic: Any, shop: Any) -> None:
    """However the end falls between two requests, all that were planned by then were sent."""
    for _ in range(5):
        traffic.run(shop, traffic.order(rate=400.0), {}, length=0.1)
    assert [schedule.sent - schedule.planned for schedule in traffic.schedules] == [0] * 5
    assert len(traffic.requests) == sum(schedule.sent for schedule in traffic.schedules) == len(shop.seen)


def test_a_stalled_server_does_not_slow_the_schedule(traffic: Any, shop: Any) -> None:
    """While the server hangs, requests keep being sent, and their latency counts from when they were meant."""
    stalled: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        if not stalled:
            stalled.append(now())
            time.sleep(0.6)  # noqa: ASYNC251 - the whole server stands still
        return web.Response(status=201)

    shop.answer = answer
    traffic.run(shop, traffic.order(rate=100.0), {}, length=1.0)
    rows = traffic.requests
    began = stalled[0]
    meanwhile = [row for row in rows if began + 0.1 < row.intended < began + 0.4]
    assert 27 <= len(meanwhile) <= 31
    assert all(row.sent - row.intended < 0.1 for row in meanwhile)
    assert all(row.ended - row.intended > 0.15 for row in meanwhile)


def test_what_is_due_above_the_limit_in_flight_is_not_sent(traffic: Any, shop: Any) -> None:
    """It is a failed request with its own reason, which takes its whole timeout; the schedule was kept."""
    open_now = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.1)
        open_now -= 1
        return web.Response(status=201)

    shop.answer = answer
    traffic.run(shop, traffic.order(in_flight=5, timeout=3.0), {"count": 20}, length=1.0)
    assert most <= 5
    assert len(traffic.requests) == 20
    unsent = [row for row in traffic.requests if row.error == "unsent: 5 requests in flight"]
    assert len(unsent) == 15
    assert not any(row.ok for row in unsent)
    assert all(row.ended - row.intended == pytest.approx(3.0) for row in unsent)
    schedule = traffic.schedules[0]
    assert (schedule.planned, schedule.sent, schedule.unsent) == (20, 20, 15)
    assert max(row.sent - row.intended for row in traffic.requests) < 0.25


def test_a_service_that_hangs_is_not_late_traffic(traffic: Any) -> None:
    """It accepts and never answers: every request ends at its timeout, or is not sent; none is late."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        operation = Operation(
            name="a", url=f"http://127.0.0.1:{server.getsockname()[1]}/", rate=200.0, timeout=2.0, in_flight=100
        )
        traffic.begin(1, [operation], {})
        traffic.stream(Stream(id="s", op="a", start=now(), count=600, rate=200.0))
        sleep_until(now() + 3.0)
        schedule = traffic.end()
    assert schedule.sent == schedule.planned == 600
    assert schedule.unsent > 300
    assert schedule.lag_p99 < 0.1
    assert {row.error for row in traffic.requests} == {"timeout", "unsent: 100 requests in flight"}
    assert min(row.ended - row.intended for row in traffic.requests) > 1.9


def test_stop_is_prompt(traffic: Any, shop: Any) -> None:
    """After ``stop`` a stream sends nothing; others go on."""
    traffic.begin(1, [traffic.order(rate=100.0)], {"shop": {"url": shop.url}})
    start = now()
    for stream in ("a", "b"):
        traffic.stream(Stream(id=stream, op="order", start=start))
    wait_for(lambda: len(traffic.requests) > 20, what="traffic", limit=10)
    stopped = now()
    traffic.stop("a")
    sleep_until(stopped + 0.5)
    traffic.end()
    sent = {stream: [row.sent for row in traffic.requests if row.stream == stream] for stream in "ab"}
    assert max(sent["a"]) < stopped + 0.1
    assert max(sent["b"]) > stopped + 0.3


def test_begin_drops_what_is_in_flight(traffic: Any, shop: Any) -> None:
    """Requests of a session that was never ended leave no row in the next one."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(status=201)

    shop.answer = answer
    variables = {"shop": {"url": shop.url}}
    traffic.begin(1, [traffic.order(name="old", rate=200.0)], variables)
    traffic.stream(Stream(id="s", op="old", start=now()))
    wait_for(lambda: len(shop.seen) > 20, what="requests under way", limit=10)
    traffic.begin(1, [traffic.order(name="new")], variables)
    traffic.rows.clear()
    traffic.stream(Stream(id="s", op="new", start=now(), count=3))
    wait_for(lambda: len(traffic.requests) == 3, what="the new session's rows", limit=10)
    traffic.end()
    assert {row.op for row in traffic.requests} == {"new"}
    assert traffic.schedules[0].planned == 3


def test_end_reports_what_stays_unanswered(traffic: Any, shop: Any) -> None:
    """When the drain is shorter than the timeout, open requests get a row that says so."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response(status=201)

    shop.answer = answer
    traffic.begin(1, [traffic.order()], {"shop": {"url": shop.url}})
    traffic.stream(Stream(id="s", op="order", start=now(), count=2))
    wait_for(lambda: len(shop.seen) == 2, what="both requests", limit=10)
    before = now()
    schedule = traffic.end(drain=0.2)
    assert now() - before < 1.5
    assert schedule.sent == 2
    assert {row.error for row in traffic.requests} == {"other: no answer when the traffic ended"}
    assert not any(row.ok for row in traffic.requests)


def test_poisson_traffic(traffic: Any, shop: Any) -> None:
    """Poisson arrivals reach the wire: about the rate, with uneven gaps."""
    traffic.run(shop, traffic.order(rate=200.0, arrival="poisson"), {}, length=1.0)
    rows = traffic.requests
    assert 140 <= len(rows) <= 260
    gaps = [later.intended - earlier.intended for earlier, later in pairwise(rows)]
    assert max(gaps) > 3 * min(gaps)
