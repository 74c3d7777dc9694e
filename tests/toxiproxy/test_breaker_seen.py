"""A client with a circuit breaker and a time limit, behind a proxy that is slower than the limit: what the tap sees of
it is judged. Real calls, real toxics."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest

from chaoskit.base.clock import now, sleep_until, wait_for
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.expectation import EXPECTATIONS
from chaoskit.language.view import OperationFacts, View
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress

RATE, LIMIT = 40, 0.2
"""Calls a second, and seconds after which a call is given up."""
FAILURES, OPEN = 5, 0.8
"""Failures in a row that open it, and seconds for which it stays open."""
ASKED = {
    "on": "payments", "opens_within": "1s", "probes_every": "0.6s..1.2s", "calls_while_open": "= 1",
    "closes_within": "1500ms",
}  # fmt: skip


class Breaker:
    """Opens after so many failures in a row; then lets one call try it, and no other until that is decided."""

    def __init__(self, call: Callable[[], bool], *, works: bool = True) -> None:
        self._call = call
        self._works = works
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_at = 0.0

    def __call__(self) -> None:
        """One call, unless it is open."""
        with self._lock:
            if self._works and self._failures >= FAILURES:
                if now() < self._closed_at:
                    return
                self._closed_at = now() + OPEN + LIMIT  # this one tries it
        good = self._call()
        with self._lock:
            self._failures = 0 if good else self._failures + 1
            if not good:
                self._closed_at = now() + OPEN


def serve(sock: Any) -> None:
    """Answers at once."""
    while sock.recv(65536):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def caller(address: ProxyAddress) -> Callable[[], bool]:
    """A call with a time limit: whether it was answered."""

    def call() -> bool:
        with closing(HTTPConnection(address.host, address.port, timeout=LIMIT)) as connection:
            try:
                connection.request("GET", "/charge")
                return connection.getresponse().status == 200
            except (OSError, HTTPException):
                return False

    return call


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("toxic", ["latency", "blackhole"])
def test_a_breaker_is_judged_by_its_own_time_limit(
    control: ToxiproxyControl, upstream: Any, toxic: str, works: bool
) -> None:
    """One that works is held on every bound, one that does not never opens: whether calls are late or swallowed."""
    address = control.create_proxy("payments", upstream(serve).address)
    control.set_tap("payments", [], [])
    history, start = History(), now()
    breaker = Breaker(caller(address), works=works)
    with ThreadPoolExecutor(32) as pool:

        def traffic(until: float) -> None:
            while (due := start + len(history.rows(r.Request)) / RATE) < until:
                sleep_until(due)
                pool.submit(breaker)
                seq = len(history.rows(r.Request))
                history.add(
                    r.Request(
                        op="pay", seq=seq, stream="base:pay", intended=due, sent=due, ended=due + LIMIT, status=200,
                        error=None, ok=True, fallback=False, id=f"{seq}",
                    )
                )  # fmt: skip

        traffic(start + 2)
        began = now()
        control.add_toxic("payments", "slow", toxic, {"latency": 1500} if toxic == "latency" else {})
        injected = now()
        traffic(start + 8)
        planned = now()
        control.remove_toxic("payments", "slow")
        lifted = now()
        traffic(start + 11)
    wait_for(lambda: not control.counters()["payments"].active, what="the end of all connections", limit=5)
    for row in control.events(0).rows:
        if row.proxy == "payments":
            history.add(row)
    for name, since, until in (("steady", start, began), ("faults", began, lifted), ("recovery", lifted, now())):
        history.add(r.Phase(name=name, started=since, ended=until))
    history.add(
        r.Fault(
            name="slow", kind=toxic, target="payments", planned_start=began, planned_end=planned, started=began,
            injected=injected, ended=lifted, touched=1, unit="connections",
        )
    )  # fmt: skip
    view = View(history, {"pay": OperationFacts(RATE, LIMIT)})
    found = list(EXPECTATIONS.get("breaker").model_validate(ASKED).judge(view))
    assert {each.id: each.held for each in found} == {each.id: works for each in found}, found
    if not works:
        assert found[0].seen == "never opened"
