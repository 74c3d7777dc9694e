"""What is sent and how answers are read, against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.traffic.spec import Fallback, Stream


def test_same_seed_same_requests(traffic: Any, shop: Any) -> None:
    """The same seed sends the same ids, bodies and intervals; another seed others."""
    body = {"user": "{{ faker.user_name() }}", "sku": "{{ pick(skus) }}", "quantity": "{{ randint(1, 3) }}"}
    made = traffic.order(json=body, rate=100.0, arrival="poisson")
    runs = []
    for seed in (5, 5, 6):
        shop.seen.clear()
        traffic.rows.clear()
        start = traffic.run(shop, made, {"rate": 100.0, "count": 20}, seed=seed, length=0.6)
        sent = {seen.headers["x-request-id"]: seen.body for seen in shop.seen}
        runs.append([(row.id, sent[row.id], round(row.intended - start, 6)) for row in traffic.requests])
    assert len(runs[0]) == 20
    assert runs[0] == runs[1]
    assert not {entry[0] for entry in runs[0]} & {entry[0] for entry in runs[2]}
    assert isinstance(json.loads(runs[0][0][1])["quantity"], int)


@pytest.mark.parametrize("pad", [1, 100_000])
def test_values_are_noted_from_the_whole_answer(traffic: Any, shop: Any, pad: int) -> None:
    """The row keeps what was asked for however long the answer is; of its body the beginning."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"pad": "é" * pad, "orders": [{"id": 7, "note": None}]}, status=201)

    shop.answer = answer
    traffic.run(
        shop, traffic.order(note_json=["orders.0.id", "orders.0.note", "orders.1.id"]), {"count": 2}, length=0.3
    )
    assert [row.noted for row in traffic.requests] == [{"orders.0.id": 7, "orders.0.note": None}] * 2
    assert [row.absent for row in traffic.requests] == [["orders.1.id"] if pad > 2048 else []] * 2
    assert {len(row.body) for row in traffic.requests} == {min(len(traffic.requests[0].body), 2048)}


def test_copies_are_identical_and_simultaneous(traffic: Any, shop: Any) -> None:
    """Three copies carry one id and body, are intended at once, and are numbered."""
    traffic.run(shop, traffic.order(copies=3, json={"q": "{{ randint(1, 1000) }}"}), {"count": 4}, length=0.3)
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
    traffic.run(shop, traffic.order(**part), {"count": 1}, length=0.2)
    (seen,) = shop.seen
    assert seen.body == body
    assert seen.headers.get("content-type") == content_type


def test_headers_and_path(traffic: Any, shop: Any) -> None:
    """Given headers win over ours, the id is the operation's own header, and odd paths are escaped."""
    made = traffic.order(
        url="{{ shop.url }}/a b/é?q=1 2&r={{ op }}",
        headers={"X-Trace": "t-{{ seq }}", "User-Agent": "mine", "Idempotency-Key": "k-{{ seq }}"},
        id_header="x-trace",
    )
    traffic.run(shop, made, {"count": 1}, length=0.2)
    (seen,) = shop.seen
    assert seen.path == "/a%20b/%C3%A9?q=1%202&r=order"
    assert seen.headers["x-trace"] == "t-0"
    assert seen.headers["user-agent"] == "mine"
    assert "x-request-id" not in seen.headers
    assert (traffic.requests[0].id, traffic.requests[0].idempotency_key) == ("t-0", "k-0")
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
    made = traffic.order(
        ok_status=[200, 201],
        ok_json={"$.items.0.kind": "live"},
        fallback=Fallback(header={"x-degraded": "cache"}),
    )
    traffic.run(shop, made, {"count": 5, "rate": 20.0}, length=0.5)
    seen = [(row.ok, row.fallback) for row in traffic.requests]
    assert seen == [(True, False), (True, True), (False, False), (False, True), (False, False)]


def test_fallback_by_status_and_json(traffic: Any, shop: Any) -> None:
    """All parts of a fallback must match."""
    kinds = iter(["cache", "live"])

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"source": {"kind": next(kinds)}}, status=203)

    shop.answer = answer
    traffic.run(
        shop,
        traffic.order(fallback=Fallback(status=203, json={"source.kind": "cache"})),
        {"count": 2, "rate": 20.0},
        length=0.3,
    )
    assert [row.fallback for row in traffic.requests] == [True, False]


@pytest.mark.parametrize(
    ("read", "size", "kept", "unread"),
    [
        ([], 2048, 2048, ""),
        ([], 60_000, 60_000, ""),
        ([200], 60_000, 60_000, ""),
        ([500], 60_000, 2048, "too long"),
        ([], 70_000, 65_536, "too long"),
        (None, 2048, 2048, ""),
    ],
)
def test_more_is_kept_of_a_body_that_is_read(
    traffic: Any, shop: Any, read: list[int] | None, size: int, kept: int, unread: str
) -> None:
    """Of answers with the statuses that somebody asks about; a row says whether it has all."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="é" * size)

    shop.answer = answer
    traffic.run(shop, traffic.order(read=read), {"count": 1}, length=0.3)
    (row,) = traffic.requests
    assert (len(row.body), row.unread, row.size) == (kept, unread, 2 * size)


@pytest.mark.parametrize(
    ("packed", "pack", "unread"),
    [
        ("gzip", gzip.compress, ""),
        ("deflate", zlib.compress, ""),
        ("br", bytes, "packed (br)"),
        ("gzip", bytes, "packed (gzip), but not as it should be"),
        ("gzip", lambda body: gzip.compress(body)[:-9], "too long"),
        ("identity", bytes, ""),
    ],
)
def test_packed_answers(traffic: Any, shop: Any, packed: str, pack: Any, unread: str) -> None:
    """They are read as a client reads them, for ok and for the row."""
    text = b'{"paid": true}'

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=pack(text), headers={"content-encoding": packed})

    shop.answer = answer
    traffic.run(shop, traffic.order(ok_json={"paid": True}), {"count": 1}, length=0.3)
    (row,) = traffic.requests
    assert (row.unread, row.size) == (unread, len(pack(text)))
    if unread != "too long":
        assert (row.ok, row.body) == (True, text.decode())


def test_true_is_not_1(traffic: Any, shop: Any) -> None:
    """As it is for Python, but not for the client that reads the answer; nor within what is compared."""
    answers = iter([{"paid": True, "by": {"card": False}}, {"paid": 1, "by": {"card": False}},
                    {"paid": True, "by": {"card": 0}}])  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(next(answers))

    shop.answer = answer
    expected = {"paid": True, "by": {"card": False}}
    made = traffic.order(ok_json=expected, fallback=Fallback(json=expected))
    traffic.run(shop, made, {"count": 3, "rate": 20.0}, length=0.3)
    assert [(row.ok, row.fallback) for row in traffic.requests] == [(True, True), (False, False), (False, False)]


def test_answers_are_kept_in_part(traffic: Any, shop: Any) -> None:
    """A row keeps 2048 characters of the body and its whole size; redirects are answers like others."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="é" * 5000, status=302, headers={"Location": "/elsewhere", "X-A": "b"})

    shop.answer = answer
    traffic.run(shop, traffic.order(), {"count": 1}, length=0.3)
    (row,) = traffic.requests
    assert (row.status, row.ok, row.error) == (302, False, None)
    assert row.body == "é" * 2048
    assert row.size == 10_000
    assert row.unread == "too long"
    assert row.headers["x-a"] == "b"
    assert len(shop.seen) == 1


def test_connections_are_kept(traffic: Any, shop: Any) -> None:
    """Requests one after the other share a connection; a new session starts a new one."""
    peers = []

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(status=201)

    shop.answer = answer
    for _ in range(2):
        traffic.run(shop, traffic.order(), {"count": 5, "rate": 20.0}, length=0.4)
    assert len(peers) == 10
    assert len(set(peers[:5])) == len(set(peers[5:])) == 1
    assert peers[0] != peers[5]


def test_idle_connections_are_closed(traffic: Any, shop: Any) -> None:
    """What a slow moment has opened does not stay for the service to hold, though nothing is sent any more."""
    peers: set[Any] = set()

    async def answer(request: web.Request) -> web.Response:
        peers.add(request.transport)
        await asyncio.sleep(0.3)
        return web.Response(status=201)

    def open_now() -> int:
        return sum(transport is not None and not transport.is_closing() for transport in peers)

    shop.answer = answer
    traffic.begin(1, [traffic.order(rate=50.0)], {"shop": {"url": shop.url}})
    traffic.stream(Stream(id="s", op="order", start=now()))
    wait_for(lambda: open_now() >= 10, what="connections of a slow moment", limit=10)
    traffic.stop("s")
    wait_for(lambda: open_now() == 0, what="those that are idle to be closed", limit=10)
    traffic.end()
    assert all(row.ok for row in traffic.requests)


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
def test_template_errors_come_before_the_traffic(traffic: Any, shop: Any, given: dict[str, Any], reason: str) -> None:
    """A wrong template breaks ``begin`` with the operation's name; the worker serves the next session."""
    with pytest.raises(BrokenError) as caught:
        traffic.begin(1, [traffic.order(**given)], {"shop": {"url": shop.url}})
    assert "operation 'order'" in str(caught.value)
    assert reason in str(caught.value)
    assert "Traceback" not in str(caught.value)
    traffic.run(shop, traffic.order(), {"count": 1}, length=0.2)
    assert len(traffic.requests) == 1


def test_template_errors_under_way(traffic: Any, shop: Any) -> None:
    """A template that fails for a later request breaks the run, naming the template."""
    traffic.begin(1, [traffic.order(body="{{ 1 / (3 - seq) }}")], {"shop": {"url": shop.url}})
    traffic.stream(Stream(id="s", op="order", start=now(), count=10))
    with pytest.raises(BrokenError, match=r"1 / \(3 - seq\).*division by zero"):
        wait_for(traffic.check, what="the error", limit=10)


def test_unknown_operation_and_stream(traffic: Any, shop: Any) -> None:
    """A stream of an operation that the session lacks is refused at once, with the nearest name."""
    traffic.begin(1, [traffic.order()], {"shop": {"url": shop.url}})
    with pytest.raises(ChaosError, match="did you mean 'order'"):
        traffic.stream(Stream(id="s", op="orders", start=now(), count=1))
    traffic.stream(Stream(id="s", op="order", start=now()))
    with pytest.raises(BrokenError, match="has no rate"):
        wait_for(traffic.check, what="the error", limit=10)
