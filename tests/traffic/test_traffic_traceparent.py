"""Every request begins a trace of its own, and says so in its row."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.expectations._traces import ids_of
from chaoskit.history.rows import Request


def test_each_request_has_its_trace(traffic: Any, shop: Any) -> None:
    """The header is a valid traceparent, different for each, drawn from the seed, and stands in the row."""
    runs = []
    for seed in (5, 5, 6):
        shop.seen.clear()
        traffic.rows.clear()
        traffic.run(shop, traffic.order(), {"rate": 100.0, "count": 20}, seed=seed, length=0.4)
        sent = {seen.headers["x-request-id"]: seen.headers["traceparent"] for seen in shop.seen}
        assert sent == {row.id: row.traceparent for row in traffic.requests}
        assert all(ids_of(value) != ("", "") for value in sent.values())
        assert len({ids_of(value)[0] for value in sent.values()}) == 20
        runs.append(sent)
    assert runs[0] == runs[1]
    assert not set(runs[0].values()) & set(runs[2].values())


def test_copies_share_their_trace(traffic: Any, shop: Any) -> None:
    """They are one request, byte for byte."""
    traffic.run(shop, traffic.order(copies=3), {"count": 2}, length=0.3)
    assert len({row.traceparent for row in traffic.requests}) == 2
    assert {seen.headers["traceparent"] for seen in shop.seen} == {row.traceparent for row in traffic.requests}


@pytest.mark.parametrize("name", ["traceparent", "TraceParent"])
def test_a_header_of_the_operation_wins(traffic: Any, shop: Any, name: str) -> None:
    """It is sent as it is, once, and noted."""
    given = f"00-{'a' * 32}-{'b' * 16}-00"
    traffic.run(shop, traffic.order(headers={name: given}), {"count": 1}, length=0.2)
    assert shop.seen[0].headers["traceparent"] == given
    assert traffic.requests[0].traceparent == given


def test_what_was_drawn_before_stays_the_same(traffic: Any, shop: Any) -> None:
    """The trace is drawn last: with one of its own, a request has the same id and body."""
    bodies = []
    for headers in ({}, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}):
        shop.seen.clear()
        made = traffic.order(json={"n": "{{ randint(1, 1000000) }}", "u": "{{ uuid() }}"}, headers=headers)
        traffic.run(shop, made, {"rate": 100.0, "count": 10}, seed=7, length=0.3)
        bodies.append({seen.headers["x-request-id"]: seen.body for seen in shop.seen})
    assert bodies[0] == bodies[1]


def test_a_row_without_one() -> None:
    """Histories of earlier versions, and calls of Python functions, have none."""
    row = Request(
        op="x", seq=0, stream="base", intended=0, sent=0, ended=0, status=None, error=None, ok=True, fallback=False,
        id="",
    )  # fmt: skip
    assert row.traceparent == ""
