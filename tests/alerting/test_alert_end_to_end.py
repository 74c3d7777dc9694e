"""Real Prometheus and real Alertmanager post to the sink, and the observer sees the same from the other side."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaoskit.alerting.receiver import Receiver
from chaoskit.alerting.sink import AlertSink
from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now, wait_for
from chaoskit.history.alerts import incidents
from chaoskit.history.rows import Alert, Row, Rules
from chaoskit.observers.alert_rules import AlertRules
from chaoskit.system.ports import free_port

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(
    not PROMETHEUS or not ALERTMANAGER, reason="prometheus and (prometheus-)alertmanager are not on the PATH"
)

RULES = {
    "groups": [
        {
            "name": "load",
            "rules": [
                {
                    "alert": "LoadHigh",
                    "expr": "load > 10",
                    "for": "600ms",
                    "labels": {"severity": "P2"},
                    "annotations": {"summary": "load is {{ $value }}", "runbook_url": "http://127.0.0.1/load"},
                },
                {"alert": "LoadLow", "expr": "load < 0"},
            ],
        }
    ]
}


class Stack:
    """A metric, Prometheus that scrapes it, Alertmanager behind it, and the sink behind both."""

    def __init__(self) -> None:
        self.load = 0.0
        self.rows: list[Row] = []
        self.sink = AlertSink(self.rows.append)
        self.receiver = Receiver()
        self.sink.attach(self.receiver)
        self.receiver.start("127.0.0.1")
        self.prometheus, self.alertmanager = free_port(), free_port()

    def alerts(self, source: str, state: str, start: int = 0) -> list[Alert]:
        """Rows since row number ``start``."""
        rows = [row for row in self.rows[start:] if isinstance(row, Alert)]
        return [row for row in rows if (row.source, row.state) == (source, state)]

    def await_(self, source: str, state: str, start: int, limit: float = 15.0) -> Alert:
        return wait_for(
            lambda: next(iter(self.alerts(source, state, start)), None),
            what=f"{source} {state}", limit=limit, last_seen=lambda: str(self.rows[start:]),
        )  # fmt: skip

    @contextlib.contextmanager
    def high(self) -> Iterator[int]:
        """The load is high inside; afterwards everybody has heard that it is over."""
        start = len(self.rows)
        self.load = 50.0
        try:
            yield start
        finally:
            self.load = 0.0
            self.sink.heal()
            for source in ("prometheus", "alertmanager"):
                self.await_(source, "resolved", start)
            self.await_("rules", "inactive", start)


def _metrics(stack: Stack) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"# TYPE load gauge\nload {stack.load}\n".encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _files(stack: Stack, folder: Path, port: int) -> None:
    url = stack.receiver.addresses()["alerts_url"]
    documents: dict[str, Any] = {
        "rules.yml": RULES,
        "prometheus.yml": {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [{"job_name": "load", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [f"127.0.0.1:{stack.alertmanager}"]}]},
                    {
                        "static_configs": [{"targets": [f"127.0.0.1:{stack.receiver.addresses()['port']}"]}],
                        "path_prefix": "/alerts",
                    },
                ]
            },
        },
        "alertmanager.yml": {
            "route": {"receiver": "pager", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "200ms",
                      "repeat_interval": "1h"},
            "receivers": [{"name": "pager", "webhook_configs": [{"url": f"{url}/webhook/pager"}]}],
        },
    }  # fmt: skip
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started once: Prometheus takes five seconds to find whom it may tell."""
    made, folder = Stack(), tmp_path_factory.mktemp("alerting")
    metrics = _metrics(made)
    _files(made, folder, metrics.server_address[1])
    commands = [
        [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{made.prometheus}", "--rules.alert.resend-delay=500ms"],
        [ALERTMANAGER, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/state",
         f"--web.listen-address=127.0.0.1:{made.alertmanager}", "--cluster.listen-address="],
    ]  # fmt: skip
    observer = AlertRules("prometheus", f"http://127.0.0.1:{made.prometheus}", made.rows.append, BlastRadius())
    with contextlib.ExitStack() as running:
        running.callback(made.receiver.stop)
        running.callback(metrics.server_close)
        running.callback(metrics.shutdown)
        for command in commands:
            log = running.enter_context((folder / f"{Path(str(command[0])).name}.log").open("wb"))
            process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
            running.callback(process.wait)
            running.callback(process.kill)
        observer.start()
        running.callback(observer.stop)
        wait_for(lambda: _known(made), what="Prometheus and both it tells", limit=60.0, every=0.2)
        yield made


def _known(stack: Stack) -> bool:
    import json
    import urllib.request

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.prometheus}/api/v1/{path}", timeout=2.0) as answer:
            return json.load(answer)["data"]

    try:
        up = all(target["health"] == "up" for target in ask("targets")["activeTargets"])
        return up and len(ask("alertmanagers")["activeAlertmanagers"]) == 2
    except OSError:
        return False


def test_both_ways_to_the_sink(stack: Stack) -> None:
    """Pending, firing, delivered by Prometheus and by Alertmanager, resolved: one alert with one fingerprint."""
    with stack.high() as start:
        began = now()
        pending, firing = stack.await_("rules", "pending", start), stack.await_("rules", "firing", start)
        direct, routed = (
            stack.await_("prometheus", "delivered", start),
            stack.await_("alertmanager", "delivered", start),
        )
        assert 0.4 <= firing.at - pending.at < 3.0
        assert routed.at - began < 8.0
        wait_for(
            lambda: len(stack.alerts("prometheus", "delivered", start)) >= 3,
            what="Prometheus to tell it again", limit=10.0,
        )  # fmt: skip
    rows = [pending, firing, direct, routed]
    assert len({row.fingerprint for row in rows}) == 1
    assert all(row.labels["severity"] == "P2" and row.labels["alertname"] == "LoadHigh" for row in rows)
    assert all(row.annotations["summary"] == "load is 50" for row in rows)
    assert routed.receiver == "pager"
    assert stack.sink.firing() == []
    alerts = [row for row in stack.rows[start:] if isinstance(row, Alert)]
    assert len(incidents(alerts)) == 1
    assert len(incidents(row for row in alerts if row.source == "prometheus")) == 1
    assert len(incidents(row for row in alerts if row.source == "alertmanager")) == 1


def test_the_rules_are_seen_while_they_are_silent(stack: Stack) -> None:
    """Once a second a row says that they are evaluated, and when."""
    start = len(stack.rows)

    def looks() -> list[Rules]:
        return [row for row in stack.rows[start:] if isinstance(row, Rules)]

    wait_for(lambda: len(looks()) >= 3, what="three looks at the rules", limit=10.0)
    assert {frozenset(row.evaluated) for row in looks()} == {frozenset({"LoadHigh", "LoadLow"})}
    assert all(-0.1 <= row.at - row.evaluated["LoadHigh"] < 2.0 for row in looks())
    assert len({row.evaluated["LoadHigh"] for row in looks()}) >= 2
    assert looks()[0].queries["LoadHigh"] == "load > 10"


@pytest.mark.parametrize(("mode", "word"), [(503, "503"), ("refuse", "refuse"), ("stall", "stall")])
def test_alertmanager_tries_again(stack: Stack, mode: Any, word: str) -> None:
    """A delivery that failed comes again once the channel is back: the failed ones are on record, and one arrives."""
    fail: Callable[..., Any] = stack.sink.fail
    fail(mode, receiver="pager")
    with stack.high() as start:
        failed = stack.await_("alertmanager", "delivered", start)
        assert failed.refused == word
        count = 1 if mode == "stall" else 2  # a stalled sender waits
        wait_for(
            lambda: len(stack.alerts("alertmanager", "delivered", start)) >= count,
            what="another try", limit=20.0,
        )  # fmt: skip
        assert {row.refused for row in stack.alerts("alertmanager", "delivered", start)} == {word}
        assert [row.source for row in stack.sink.firing()] == ["prometheus"]
        stack.sink.heal()
        wait_for(
            lambda: any(not row.refused for row in stack.alerts("alertmanager", "delivered", start)),
            what="the delivery that arrives", limit=30.0,
        )  # fmt: skip
