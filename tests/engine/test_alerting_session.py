"""Alerts of an environment, end to end: a metric, a rule, a notification at the sink; whichever way serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import InputError
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.language.environments import load_environment
from chaoskit.services.docker import daemon
from chaoskit.services.providers._alerting import PROGRAMS, find_program
from chaoskit.services.providers.http_stub import Route

ENVIRONMENT = """
environment: small
services:
  stub:
    provider: http_stub
    metrics: /metrics
    ready: {within: 60s}
    args: {routes: [{path: /metrics, body: "# TYPE queue gauge\\nqueue 0\\n"}]}
  alertmanager: {provider: alertmanager, ready: {within: 60s}, args: {config: routes.yml}}
  prometheus:
    provider: prometheus
    ready: {within: 60s}
    args: {rules: ["*.rules.yml"], alertmanager: alertmanager, speed_up: 100}
"""
DIRECT = ENVIRONMENT.replace(", alertmanager: alertmanager", "").replace(
    "  alertmanager: {provider: alertmanager, ready: {within: 60s}, args: {config: routes.yml}}\n", ""
)
RULES = """
groups:
  - name: stub
    interval: 30s
    rules:
      - alert: QueueTooLong
        expr: max_over_time(queue[2m]) > 5
        for: 30s
        labels: {severity: P1}
        annotations: {summary: "{{ $labels.job }}: {{ $value }} wait"}
"""
ROUTES = """
route: {receiver: pager, group_by: [alertname], group_wait: 30s}
receivers: [{name: pager, webhook_configs: [{url: "https://pager.example.com"}]}]
"""


@pytest.fixture
def small(tmp_path):
    """Writes the files; gives a function from the environment's text to the environment."""
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "team.rules.yml").write_text(RULES)
    (folder / "routes.yml").write_text(ROUTES)

    def write(text: str = ENVIRONMENT):
        (folder / "small.yaml").write_text(text)
        return load_environment(folder / "small.yaml")

    return write


@pytest.fixture
def open_session(tmp_path):
    """Opens sessions, and closes them."""
    opened = []

    def start(alerting: str, runtime: str) -> Session:
        opened.append(Session(tmp_path / "reports", seed=1, toxiproxy="embedded", alerting=alerting, runtime=runtime))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


def page(queue: int) -> list[Route]:
    """The script of a service whose queue is so long."""
    return [Route(path="/metrics", body=f"# TYPE queue gauge\nqueue {queue}\n")]


def ways() -> list:
    """Each way of alerting, skipped where it is not to be had."""
    lacking = [name for name in PROGRAMS if find_program(name) is None]
    docker = daemon.refusal()
    return [
        pytest.param("embedded", "process", id="embedded"),
        pytest.param(
            "prometheus",
            "process",
            id="prometheus",
            marks=pytest.mark.skipif(bool(lacking), reason=f"needs {' and '.join(lacking)} on the PATH"),
        ),
        pytest.param(
            "auto", "docker", id="docker", marks=pytest.mark.skipif(bool(docker), reason=f"needs Docker: {docker}")
        ),
    ]


@pytest.mark.parametrize(("alerting", "runtime"), ways())
@pytest.mark.parametrize("text", [ENVIRONMENT, DIRECT], ids=["alertmanager", "direct"])
def test_from_the_metric_to_the_sink_and_back(small, open_session, alerting, runtime, text) -> None:
    """An alert is told and ends; the next scenario begins without it, in the same Prometheus."""
    environment = small(text)
    live, _ = open_session(alerting, runtime).open(environment)
    pid = live.service("prometheus").pid
    for _ in range(2):
        live.prepare(environment)
        seen: list[r.Alert] = []
        live.observe(lambda row, seen=seen: seen.append(row) if isinstance(row, r.Alert) else None, [])
        live.service("stub").script(page(9))
        told = wait_for(lambda: [row for row in seen if row.state == "delivered"], what="the alert", limit=20)  # noqa: B023
        assert told[0].name == "QueueTooLong"
        assert told[0].labels["severity"] == "P1"
        assert told[0].labels["instance"] == "stub"
        assert told[0].annotations == {"summary": "stub: 9 wait"}
        assert told[0].receiver == ("pager" if text == ENVIRONMENT else told[0].receiver)
        live.service("stub").script(page(0))
        wait_for(lambda: [row for row in seen if row.state == "resolved"], what="its end", limit=20)  # noqa: B023
        live.service("stub").script(page(9))  # and once more, which nobody waits for
        wait_for(live.alerts.firing, what="the alert again", limit=20)
        live.heal()
        live.observe_nothing()
    live.prepare(environment)
    assert not live.alerts.firing()
    assert live.service("prometheus").pid == pid


def test_what_was_changed_is_told(small, open_session) -> None:
    """Which server serves, and each difference from the team's files, with its line."""
    live, _ = open_session("embedded", "process").open(small())
    told = live.describe()["alerting"]
    assert told["served_by"] == "embedded"
    changes = "\n".join(told["changes"])
    assert "team.rules.yml:4: interval of group stub 30s → 200ms" in changes
    assert "team.rules.yml:7: QueueTooLong: max_over_time(queue[2m]) > 5 → max_over_time(queue[1200ms]) > 5" in changes
    assert "team.rules.yml:8: QueueTooLong: for 30s → 300ms" in changes
    assert "routes.yml:3: receiver pager: webhook_configs → a webhook to the alert sink" in changes
    assert "routes.yml:2: group_wait 30s → 0s" in changes


def test_a_rule_beyond_the_stand_in_is_refused_before_anything_starts(small, open_session, tmp_path) -> None:
    """File, line, the reason, and Prometheus as the way out."""
    environment = small()
    rules = Path(environment.folder, "team.rules.yml")
    rules.write_text(RULES.replace("max_over_time(queue[2m]) > 5", "topk(3, queue) > 5"))
    session = open_session("embedded", "process")
    with pytest.raises(InputError, match=r"team.rules.yml:7: rule QueueTooLong: the aggregation topk: .*Prometheus"):
        session.open(environment)
    assert not list(session.folder.glob("environment-*"))


def test_embedded_on_docker_is_refused(small, open_session) -> None:
    """With what to do instead, and without asking any daemon."""
    with pytest.raises(InputError, match=r"small\.yaml:.*embedded serves environments of processes.*auto"):
        open_session("embedded", "docker").open(small())


def test_alerts_that_fire_all_the_time_hold_nothing_up(small, open_session) -> None:
    """A watchdog is not waited for between scenarios."""
    environment = small()
    rules = Path(environment.folder, "team.rules.yml")
    rules.write_text(RULES + "      - {alert: Watchdog, expr: vector(1)}\n")
    live, _ = open_session("embedded", "process").open(environment)
    pid = live.service("prometheus").pid
    live.prepare(environment)
    live.prepare(environment)
    assert live.service("prometheus").pid == pid
