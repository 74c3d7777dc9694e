"""The generator against a real server: what is sent, when, and what the rows say."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from chaoskit.clock import now, sleep_until, wait_for
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.traffic.spec import Fallback, Operation, Stream


def operation(**given: Any) -> Operation:
    """A POST to the shop."""
    return Operation(
        **{"name": "order", "method": "POST", "url": "{{ shop.url }}/orders", "timeout": 5.0, **given}
    )


def run(
    traffic: Any, shop: Any, made: Operation, *streams: dict[str, Any], seed: int = 1, length: float = 1.0
) -> float:
    """Send ``streams`` (from a common start) and end after ``length`` seconds. Returns the start."""
    variables = {"shop": {"url": shop.url}, "skus": ["a", "b"]}
    traffic.begin(seed, [made], variables)
    start = now() + 0.1
    for number, stream in enumerate(streams):
        traffic.stream(Stream(**{"id": f"s{number}", "op": made.name, "start": start, **stream}))
    sleep_until(start + length)
    traffic.end()
    return start


def test_a_stream_sends_exactly_its_schedule(traffic: Any, shop: Any) -> None:
    """50/s for a second is 50 requests, each intended 20 ms after the one before, none sent early."""
    start = run(
        traffic, shop, operation(rate=50.0), {"until": now() + 100, "count": 50, "rate": 50.0}, length=1.1
    )
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
        run(traffic, shop, operation(rate=400.0), {}, length=0.1)
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
    run(traffic, shop, operation(rate=100.0), {}, length=1.0)
    rows = traffic.requests
    began = stalled[0]
    meanwhile = [row for row in rows if began + 0.1 < row.intended < began + 0.4]
    assert 27 <= len(meanwhile) <= 31
    assert all(row.sent - row.intended < 0.1 for row in meanwhile)
    assert all(row.ended - row.intended > 0.15 for row in meanwhile)


def test_same_seed_same_requests(traffic: Any, shop: Any) -> None:
    """The same seed sends the same ids, bodies and intervals; another seed others."""
    body = {"user": "{{ faker.user_name() }}", "sku": "{{ pick(skus) }}", "quantity": "{{ randint(1, 3) }}"}
    made = operation(json=body, rate=100.0, arrival="poisson")
    runs = []
    for seed in (5, 5, 6):
        shop.seen.clear()
        traffic.rows.clear()
        start = run(traffic, shop, made, {"rate": 100.0, "count": 20}, seed=seed, length=0.6)
        sent = {seen.headers["x-request-id"]: seen.body for seen in shop.seen}
        runs.append([(row.id, sent[row.id], round(row.intended - start, 6)) for row in traffic.requests])
    assert len(runs[0]) == 20
    assert runs[0] == runs[1]
    assert not {entry[0] for entry in runs[0]} & {entry[0] for entry in runs[2]}
    assert isinstance(json.loads(runs[0][0][1])["quantity"], int)


def test_copies_are_identical_and_simultaneous(traffic: Any, shop: Any) -> None:
    """Three copies carry one id and body, are intended at once, and are numbered."""
    run(traffic, shop, operation(copies=3, json={"q": "{{ randint(1, 1000) }}"}), {"count": 4}, length=0.3)
    rows = traffic.requests
    assert [(row.seq, row.copy) for row in rows] == [(seq, copy) for seq in range(4) for copy in range(3)]
    assert set(Counter(seen.headers["x-request-id"] for seen in shop.seen).values()) == {3}
    assert len({(seen.headers["x-request-id"], seen.body) for seen in shop.seen}) == 4
    assert len({row.intended for row in rows}) == 1
    assert traffic.schedules[0].planned == 12


@pytest.mark.parametrize(
    ("part", "content_type", "body"),
    [
        ({"json": {"n": "{{ seq }}"}}, "application/json", '{"n":0}'),
        ({"form": {"a": "x {{ op }}", "b": "1"}}, "application/x-www-form-urlencoded", "a=x+order&b=1"),
        ({"body": "<{{ op }}>\n"}, "text/plain; charset=utf-8", "<order>\n"),
        ({}, None, ""),
    ],
)
def test_bodies(traffic: Any, shop: Any, part: dict[str, Any], content_type: str | None, body: str) -> None:
    """JSON, form, text and nothing arrive as such."""
    run(traffic, shop, operation(**part), {"count": 1}, length=0.2)
    (seen,) = shop.seen
    assert seen.body == body
    assert seen.headers.get("content-type") == content_type


def test_headers_and_path(traffic: Any, shop: Any) -> None:
    """Given headers win over ours, the id is the operation's own header, and odd paths are escaped."""
    made = operation(
        url="{{ shop.url }}/a b/é?q=1 2&r={{ op }}",
        headers={"X-Trace": "t-{{ seq }}", "User-Agent": "mine"},
        id_header="x-trace",
    )
    run(traffic, shop, made, {"count": 1}, length=0.2)
    (seen,) = shop.seen
    assert seen.path == "/a%20b/%C3%A9?q=1%202&r=order"
    assert seen.headers["x-trace"] == "t-0"
    assert seen.headers["user-agent"] == "mine"
    assert "x-request-id" not in seen.headers
    assert traffic.requests[0].id == "t-0"
    assert traffic.requests[0].path == seen.path


def test_ok_and_fallback(traffic: Any, shop: Any) -> None:
    """``ok`` needs status and json; a fallback is told by its header and leaves ``ok`` alone."""
    answers = iter(
        [
            web.json_response({"items": [{"kind": "live"}]}, status=201),
            web.json_response({"items": [{"kind": "live"}]}, status=201, headers={"X-Degraded": "cache"}),
            web.json_response({"items": []}, status=201),
            web.json_response({"items": [{"kind": "live"}]}, status=503, headers={"X-Degraded": "cache"}),
            web.Response(text="no json", status=201),
        ]
    )

    async def answer(request: web.Request) -> web.Response:
        return next(answers)

    shop.answer = answer
    made = operation(
        ok_status=[200, 201],
        ok_json={"$.items.0.kind": "live"},
        fallback=Fallback(header={"x-degraded": "cache"}),
    )
    run(traffic, shop, made, {"count": 5, "rate": 20.0}, length=0.5)
    seen = [(row.ok, row.fallback) for row in traffic.requests]
    assert seen == [(True, False), (True, True), (False, False), (False, True), (False, False)]


def test_fallback_by_status_and_json(traffic: Any, shop: Any) -> None:
    """All parts of a fallback must match."""
    kinds = iter(["cache", "live"])

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"source": {"kind": next(kinds)}}, status=203)

    shop.answer = answer
    run(
        traffic,
        shop,
        operation(fallback=Fallback(status=203, json={"source.kind": "cache"})),
        {"count": 2, "rate": 20.0},
        length=0.3,
    )
    assert [row.fallback for row in traffic.requests] == [True, False]


def test_answers_are_kept_in_part(traffic: Any, shop: Any) -> None:
    """A row keeps 2048 characters of the body and its whole size; redirects are answers like others."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="é" * 5000, status=302, headers={"Location": "/elsewhere", "X-A": "b"})

    shop.answer = answer
    run(traffic, shop, operation(), {"count": 1}, length=0.3)
    (row,) = traffic.requests
    assert (row.status, row.ok, row.error) == (302, False, None)
    assert row.body == "é" * 2048
    assert row.size == 10_000
    assert row.headers["x-a"] == "b"
    assert len(shop.seen) == 1


def test_the_limit_in_flight_delays_but_never_skips(traffic: Any, shop: Any) -> None:
    """Above the limit requests wait, are sent late, and the row shows how late."""
    open_now = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.1)
        open_now -= 1
        return web.Response(status=201)

    shop.answer = answer
    run(traffic, shop, operation(concurrency=5), {"count": 20}, length=1.0)
    assert most <= 5
    assert len(traffic.requests) == 20
    assert max(row.sent - row.intended for row in traffic.requests) > 0.25
    assert (traffic.schedules[0].planned, traffic.schedules[0].sent) == (20, 20)


def test_stop_is_prompt(traffic: Any, shop: Any) -> None:
    """After ``stop`` a stream sends nothing; others go on."""
    traffic.begin(1, [operation(rate=100.0)], {"shop": {"url": shop.url}})
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
    traffic.begin(1, [operation(name="old", rate=200.0)], variables)
    traffic.stream(Stream(id="s", op="old", start=now()))
    wait_for(lambda: len(shop.seen) > 20, what="requests under way", limit=10)
    traffic.begin(1, [operation(name="new")], variables)
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
    traffic.begin(1, [operation()], {"shop": {"url": shop.url}})
    traffic.stream(Stream(id="s", op="order", start=now(), count=2))
    wait_for(lambda: len(shop.seen) == 2, what="both requests", limit=10)
    before = now()
    schedule = traffic.end(drain=0.2)
    assert now() - before < 1.5
    assert schedule.sent == 2
    assert {row.error for row in traffic.requests} == {"other: no answer when the traffic ended"}
    assert not any(row.ok for row in traffic.requests)


def test_connections_are_kept(traffic: Any, shop: Any) -> None:
    """Requests one after the other share a connection; a new session starts a new one."""
    peers = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(status=201)

    shop.answer = answer
    for _ in range(2):
        run(traffic, shop, operation(), {"count": 5, "rate": 20.0}, length=0.4)
    assert len(peers) == 10
    assert len(set(peers[:5])) == len(set(peers[5:])) == 1
    assert peers[0] != peers[5]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"json": {"x": "{{ nothing }}"}}, "'nothing' is undefined"),
        ({"url": "{{ shop.port }}/x"}, "no attribute 'port'"),
        ({"url": "shop/x"}, "not an http:// or https:// address"),
        ({"headers": {"x": "a\nb"}}, "line break"),
        ({"headers": {"x": "{{ ''.__class__ }}"}}, "unsafe"),
    ],
)
def test_template_errors_come_before_the_traffic(
    traffic: Any, shop: Any, given: dict[str, Any], reason: str
) -> None:
    """A wrong template breaks ``begin`` with the operation's name; the worker serves the next session."""
    with pytest.raises(BrokenError) as caught:
        traffic.begin(1, [operation(**given)], {"shop": {"url": shop.url}})
    assert "operation 'order'" in str(caught.value)
    assert reason in str(caught.value)
    assert "Traceback" not in str(caught.value)
    run(traffic, shop, operation(), {"count": 1}, length=0.2)
    assert len(traffic.requests) == 1


def test_template_errors_under_way(traffic: Any, shop: Any) -> None:
    """A template that fails for a later request breaks the run, naming the template."""
    traffic.begin(1, [operation(body="{{ 1 / (3 - seq) }}")], {"shop": {"url": shop.url}})
    traffic.stream(Stream(id="s", op="order", start=now(), count=10))
    with pytest.raises(BrokenError, match=r"1 / \(3 - seq\).*division by zero"):
        wait_for(traffic.check, what="the error", limit=10)


def test_unknown_operation_and_stream(traffic: Any, shop: Any) -> None:
    """A stream of an operation that the session lacks is refused at once, with the nearest name."""
    traffic.begin(1, [operation()], {"shop": {"url": shop.url}})
    with pytest.raises(ChaosError, match="did you mean 'order'"):
        traffic.stream(Stream(id="s", op="orders", start=now(), count=1))
    traffic.stream(Stream(id="s", op="order", start=now()))
    with pytest.raises(BrokenError, match="has no rate"):
        wait_for(traffic.check, what="the error", limit=10)


def test_poisson_traffic(traffic: Any, shop: Any) -> None:
    """Poisson arrivals reach the wire: about the rate, with uneven gaps."""
    run(traffic, shop, operation(rate=200.0, arrival="poisson"), {}, length=1.0)
    rows = traffic.requests
    assert 140 <= len(rows) <= 260
    gaps = [later.intended - earlier.intended for earlier, later in pairwise(rows)]
    assert max(gaps) > 3 * min(gaps)
