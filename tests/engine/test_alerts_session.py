"""Alerts in whole scenarios: rules that fire because of a fault, are delivered, resolve, and are judged."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load

REAL = shutil.which("prometheus") and (shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"))

SERVER = """
import http.server, os

count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global count
        count += self.path == "/ok"
        body = f"# TYPE asked_total counter\\nasked_total {count}\\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever(0.05)
"""

RULES = """
groups:
  - name: front
    rules:
      - alert: FrontBusy
        expr: rate(asked_total[2s]) > 35
        for: 200ms
        labels: {severity: P2, team: front}
        annotations: {summary: "{{ $labels.job }} is busy", runbook_url: "http://127.0.0.1:9/busy"}
      - alert: FrontDown
        expr: up{job="front"} == 0
        labels: {severity: P1}
"""

ROUTES = """
route: {receiver: pager, group_by: [alertname], group_wait: 30s, repeat_interval: 4h}
receivers:
  - name: pager
    webhook_configs: [{url: "http://pager.example.com/hook"}]
"""

ENVIRONMENT = f"""
environment: watched
services:
  front: {{command: ["{sys.executable}", server.py], ready: {{http: /ok}}, metrics: /metrics}}
  alertmanager: {{provider: alertmanager, args: {{config: alertmanager.yml}}}}
  prometheus:
    provider: prometheus
    args: {{rules: [rules.yaml], alertmanager: alertmanager}}
"""

SCENARIO = """
scenario: A burst is told to the people on call
environment: watched
sops:
  - {sop: tell, on: {alert: FrontBusy}, steps: [{notify: {to: front-team}}]}
traffic:
  ask: {request: "GET {{ front.url }}/ok", rate: 10/s}
steady_state:
  ask: {success_rate: ">= 95%"}
timeline:
  steady: 3s
  faults:
    - burst: {burst: {operation: ask, rate: 60/s}, at: 0s, for: 2500ms}
    CHANNEL
  recovery: 10s
expect:
  alerts:
    - {name: FrontBusy, fires_within: 4s, delivered_within: DELIVERED, resolves_within: 10s, times: 1, severity: P2,
       labels: {team: front}, annotations: {summary: "^front is busy$"}, runbook: present, receiver: pager}
    - {name: FrontDown, never: true}
    - {nothing_else: true}
"""


@pytest.fixture(scope="module", params=["embedded", "prometheus"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    """A session of either way of alerting, and the project's folder."""
    if request.param == "prometheus" and not REAL:
        pytest.skip("prometheus and (prometheus-)alertmanager are not on the PATH")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "environments").mkdir()
    (folder / "pyproject.toml").touch()
    for name, text in {
        "watched.yaml": ENVIRONMENT, "server.py": SERVER, "rules.yaml": RULES, "alertmanager.yml": ROUTES,
    }.items():  # fmt: skip
        (folder / "environments" / name).write_text(text)
    made = Session(folder / "reports", seed=7, alerting=request.param)
    yield made, folder
    made.close()


def scenario(folder: Path, delivered: str = "5s", channel: str = "") -> Path:
    file = folder / "burst.chaos.yaml"
    file.write_text(SCENARIO.replace("DELIVERED", delivered).replace("CHANNEL", channel))
    return file


def test_an_alert_from_its_metric_to_its_end(session: tuple[Session, Path]) -> None:
    """Held; the history tells the whole life, and judged again it says the same."""
    live, folder = session
    (loaded,) = load(scenario(folder))
    result = live.run(loaded)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    alerts = [row for row in result.history.rows(r.Alert) if row.name == "FrontBusy"]
    assert [row.state for row in alerts if row.source == "rules"] == ["pending", "firing", "inactive"]
    assert {row.receiver for row in alerts if row.state == "delivered"} == {"pager"}
    assert len({row.fingerprint for row in alerts}) == 1
    assert rejudge(result.folder)[1] == result.verdict
    (file,) = (result.folder / "fault-reports").glob("*-FrontBusy.json")
    report = json.loads(file.read_text())
    assert report["alert"]["source"] == "alertmanager"
    assert re.match(r"embedded$" if live.alerting == "embedded" else r"alertmanager \d", report["alert"]["served_by"])
    assert [metric["of_rule"] for metric in report["metrics"][:2]] == [True, False]
    again = live.run(loaded)
    assert again.verdict.outcome is Outcome.HELD, again.verdict.reason


def test_a_channel_that_is_down(session: tuple[Session, Path]) -> None:
    """Deliveries fail while it is down, and the alert arrives after all."""
    live, folder = session
    channel = "- pager: {alert_channel: {mode: 503, receiver: pager}, at: 0s, for: 3500ms}"
    (loaded,) = load(scenario(folder, "15s", channel))
    result = live.run(loaded)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (fault,) = [row for row in result.history.rows(r.Fault) if row.name == "pager"]
    sent = [row for row in result.history.rows(r.Alert) if row.state == "delivered"]
    assert fault.touched == len({row.at for row in sent if row.refused}) >= 1
    assert all(row.at < fault.ended for row in sent if row.refused)
    assert any(row.at > fault.ended for row in sent if not row.refused)
