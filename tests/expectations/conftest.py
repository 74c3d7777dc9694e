"""Histories made to measure: open-loop traffic, calls at a proxy and samples, without a clock or a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from alert_rows import NAME, alert, look

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.view import OperationFacts, View

Answer = Callable[[float], dict[str, Any]]
ORIGIN = 1000.0


def good(_at: float) -> dict[str, Any]:
    """The answer of a healthy service."""
    return {}


class Rehearsal:
    """A history under construction. Moments are seconds from the start of the fault; ``ORIGIN`` is that start."""

    origin = ORIGIN

    def __init__(
        self, *, steady: float = 5.0, fault: float = 6.0, recovery: float = 5.0, after: float = 0.0,
        target: str = "payments", kind: str = "latency",
    ) -> None:  # fmt: skip
        self.history = History()
        self.operations: dict[str, OperationFacts] = {}
        self.start, self.lifted, self.end = -steady, fault, fault + recovery + after
        phases = [("steady", -steady, 0.0), ("faults", 0.0, fault), ("recovery", fault, fault + recovery)]
        if after:
            phases.append(("after", fault + recovery, self.end))
        for name, started, ended in phases:
            self.add(r.Phase(name=name, started=ORIGIN + started, ended=ORIGIN + ended))
        if fault:
            self.fault(0.0, fault, target=target, kind=kind)

    def add(self, row: r.Row) -> None:
        """One row as it is."""
        self.history.add(row)

    def fault(self, started: float, ended: float, *, target: str = "payments", kind: str = "latency") -> None:
        """A fault's window."""
        started, ended = ORIGIN + started, ORIGIN + ended
        self.add(
            r.Fault(
                name="f", kind=kind, target=target, planned_start=started, planned_end=ended, started=started,
                injected=started, ended=ended, touched=1, unit="connections",
            )
        )  # fmt: skip

    def request(self, at: float, op: str = "place-order", seq: int = 0, **answer: Any) -> r.Request:
        """One request, due ``at``. ``latency`` is seconds; an ``error`` or a bad ``status`` makes it not ok."""
        latency, error = answer.pop("latency", 0.02), answer.pop("error", None)
        status = answer.pop("status", None if error else 201)
        row = r.Request(
            **{
                "op": op, "seq": seq, "stream": "base", "intended": ORIGIN + at, "sent": ORIGIN + at,
                "ended": ORIGIN + at + latency, "status": status, "error": error,
                "ok": error is None and status < 300, "fallback": False, "id": f"{op}-{seq}", "method": "POST",
                "path": "/orders", **answer,
            }
        )  # fmt: skip
        self.operations.setdefault(op, OperationFacts(rate=0.0, timeout=2.0))
        self.add(row)
        return row

    def traffic(
        self, answer: Answer = good, *, op: str = "place-order", rate: float = 40.0, timeout: float = 2.0,
        start: float | None = None, end: float | None = None, **fixed: Any,
    ) -> list[r.Request]:  # fmt: skip
        """Open-loop traffic over the whole run, at even intervals. ``answer`` tells how the request due then fares."""
        self.operations[op] = OperationFacts(rate, timeout)
        first, last = self.start if start is None else start, self.end if end is None else end
        count = round((last - first) * rate)
        moments = [first + index / rate for index in range(count)]
        return [self.request(at, op, seq, **(fixed | answer(at))) for seq, at in enumerate(moments)]

    def call(self, at: float, *, id: str = "", took: float = 0.01, status: int | None = 200, **more: Any) -> float:
        """One exchange at a proxy. Returns when it ended."""
        end = "complete" if status is not None else "reset"
        started, ended = ORIGIN + at, ORIGIN + at + took
        self.add(
            r.Exchange(
                **{
                    "proxy": "payments", "conn": 1, "method": "POST", "path": "/charge", "id": id,
                    "started": started, "sent": started, "answered": ended if status is not None else None,
                    "ended": ended, "status": status, "end": end, **more,
                }
            )
        )  # fmt: skip
        return at + took

    def workers(
        self, count: int = 4, *, takes: float = 8.0, attempts: int = 1, pause: float = 1.0, after: float = 0.0,
        calls: int = 1, known: bool = True, rate: float = 20.0,
    ) -> Rehearsal:  # fmt: skip
        """No breaker: each of the workers takes the oldest request and makes so many different calls, one after the
        other, each in so many attempts with a pause between them; during the fault each takes ``takes`` seconds to
        fail. The client has its answer ``after`` seconds later, unless it gave up; the worker is free at once.
        """
        free, op = [self.start] * count, "place-order"
        self.operations[op] = OperationFacts(rate, 2.0)
        for seq in range(round((self.end - self.start) * rate)):
            due = self.start + seq / rate
            slot = free.index(min(free))
            at = max(due, free[slot])
            for call in range(calls):
                for attempt in range(attempts):
                    failed = 0 <= at < self.lifted
                    took, name = takes if failed else 0.01, f"{op}-{seq}" if known else ""
                    at = self.call(at, id=name, took=took, path=f"/{call}", status=503 if failed else 200)
                    if not failed:
                        break
                    at += pause if attempt + 1 < attempts else 0.0
            free[slot] = at + 0.001
            waited = at + after - due
            self.request(due, op, seq, latency=min(2.0, waited), error="timeout" if waited > 2.0 else None)
        return self

    def samples(self, metric: str, value: Callable[[float], float], *, every: float = 0.25, service: str = "orders",
                until: float | None = None) -> None:  # fmt: skip
        """Samples of a metric over the whole run."""
        last = self.end if until is None else until
        for index in range(round((last - self.start) / every)):
            at = self.start + (index + 0.5) * every
            self.add(r.Sample(service=service, name=metric, at=ORIGIN + at, value=value(at)))

    def view(self, steady_state: Mapping[str, Mapping[str, str]] | None = None) -> View:
        """The history, ready to be judged."""
        bounds = {op: OperationBounds.model_validate(asked) for op, asked in (steady_state or {}).items()}
        return View(self.history, self.operations, bounds)


@pytest.fixture(scope="session")
def rehearse() -> type[Rehearsal]:
    """Makes a rehearsal: ``rehearse(fault=4.0)``."""
    return Rehearsal


@pytest.fixture(scope="session")
def by_id() -> Callable[[Any, View], dict[str, Any]]:
    """Judges: the findings of an expectation by id."""

    def judge(expectation: Any, view: View) -> dict[str, Any]:
        findings = list(expectation.judge(view))
        assert len({finding.id for finding in findings}) == len(findings), "ids must differ"
        return {finding.id: finding for finding in findings}

    return judge


@pytest.fixture
def panics(rehearse: Any) -> Any:
    """An alert that is pending from 1 s, fires from 2 s (told at 2.1, 3.1, 4.1 s) to 8 s; the fault is at 0 to 6 s."""
    rehearsal = rehearse()
    look(rehearsal, (NAME, "OrdersDown"))
    rows = [alert(1.0, "pending"), alert(2.0, "firing"), alert(8.0, "inactive")]
    told = [alert(at, "delivered", source="alertmanager", receiver="pager", starts_at="t") for at in (2.1, 3.1, 4.1)]
    for row in (*rows, *told, alert(8.2, "resolved", source="alertmanager", receiver="pager", starts_at="t")):
        rehearsal.add(row)
    return rehearsal
