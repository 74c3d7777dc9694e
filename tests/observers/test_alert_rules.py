"""The observer of rules: what it makes of the answers of Prometheus' API."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.history.alerts import fingerprint
from chaoskit.history.rows import Alert, Row, Rules
from chaoskit.observers.alert_rules import AlertRules


class Api:
    """Answers like Prometheus, with whatever a test says."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.rules: list[dict[str, Any]] = []
        self.status = 200

    def answer(self, path: str) -> Any:
        if path.startswith("/api/v1/alerts"):
            return {"data": {"alerts": self.alerts}}
        return {"data": {"groups": [{"rules": self.rules}]}}


def alert(state: str, since: str = "2024-05-01T10:00:00.123456789Z", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": "Slow", **labels}, "annotations": {"a": "b"}, "state": state, "activeAt": since}


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".000000001Z"


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def observed(api: Api) -> Iterator[tuple[AlertRules, list[Row]]]:
    """An observer that looks when it is told to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(api.answer(self.path)).encode()
            self.send_response(api.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    rows: list[Row] = []
    observer = AlertRules("prometheus", f"http://127.0.0.1:{server.server_address[1]}", rows.append, BlastRadius())
    yield observer, rows
    observer.stop()
    server.shutdown()
    server.server_close()


def states(rows: list[Row]) -> list[str]:
    return [row.state for row in rows if isinstance(row, Alert)]


def test_a_life(api: Api, observed: tuple[AlertRules, list[Row]]) -> None:
    """A row for each change, none while nothing changes."""
    observer, rows = observed
    observer.observe()
    for state in ("pending", "pending", "firing", "firing"):
        api.alerts = [alert(state, service="orders")]
        observer.observe()
    api.alerts = []
    observer.observe()
    assert states(rows) == ["pending", "firing", "inactive"]
    (last,) = {row.fingerprint for row in rows if isinstance(row, Alert)}
    assert last == fingerprint({"service": "orders", "alertname": "Slow"})
    assert {row.source for row in rows if isinstance(row, Alert)} == {"rules"}


def test_what_fires_already(api: Api, observed: tuple[AlertRules, list[Row]]) -> None:
    """The first look tells it."""
    observer, rows = observed
    api.alerts = [alert("firing", service="a"), alert("pending", service="b"), alert("inactive", service="c")]
    observer.observe()
    assert sorted(states(rows)) == ["firing", "pending"]


def test_two_lives_between_two_looks(api: Api, observed: tuple[AlertRules, list[Row]]) -> None:
    """An alert that ended and fired again is told as two."""
    observer, rows = observed
    api.alerts = [alert("firing")]
    observer.observe()
    api.alerts = [alert("firing", since="2024-05-01T10:00:09Z")]
    observer.observe()
    assert states(rows) == ["firing", "inactive", "firing"]


def test_the_rules(api: Api, observed: tuple[AlertRules, list[Row]]) -> None:
    """When each was evaluated last, on our clock; of two with one name the later; never is left out."""
    observer, rows = observed
    wall = time.time()
    api.rules = [
        {"type": "alerting", "name": "Slow", "query": "a > 1", "lastEvaluation": stamp(wall - 5), "duration": 3},
        {"type": "alerting", "name": "Slow", "query": "a > 9", "lastEvaluation": stamp(wall - 3)},
        {"type": "alerting", "name": "New", "query": "b", "lastEvaluation": "0001-01-01T00:00:00Z"},
        {"type": "alerting", "name": "Bad", "query": "c", "lastEvaluation": stamp(wall), "lastError": "boom"},
        {"type": "recording", "name": "sum", "query": "d", "lastEvaluation": stamp(wall)},
    ]
    observer.observe()
    observer.observe()
    (row,) = [row for row in rows if isinstance(row, Rules)]  # one a second
    assert row.queries == {"Slow": "a > 1 or a > 9", "New": "b", "Bad": "c"}
    assert row.waits == {"Slow": 3.0, "New": 0.0, "Bad": 0.0}
    assert set(row.evaluated) == {"Slow", "Bad"}
    assert 2.0 < row.at - row.evaluated["Slow"] < 5.0
    assert row.failing == {"Bad": "boom"}


def test_an_api_that_fails(api: Api, observed: tuple[AlertRules, list[Row]]) -> None:
    """The errors are counted, a row tells it once a second, and what was active is not forgotten."""
    observer, rows = observed
    api.alerts = [alert("firing")]
    observer.look()
    api.status = 500
    observer._next = 0.0
    for _ in range(5):
        observer.look()
    assert observer.errors == 5
    errors = [row.error for row in rows if isinstance(row, Rules) and row.error]
    assert errors == ["ValueError: GET /api/v1/alerts: status 500"]
    api.status = 200
    observer.look()
    assert states(rows) == ["firing"]
