"""Prometheus with Alertmanager, and their stand-ins, scrape the same services: they tell the same alerts, and when."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaoskit.alerting.receiver import Answer, Receiver
from chaoskit.base.clock import now, sleep_until, wait_for
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Neighbours
from chaoskit.services.create import create
from chaoskit.services.providers._alerting import PROGRAMS, find_program
from chaoskit.system.journal import Journal

EVERY = 0.2
"""Seconds between two evaluations, and between two scrapes."""
APART = 5 * EVERY
"""How far the two may be apart: each is late by up to a scrape, an evaluation and a group's interval; some for load."""

RULES = """
groups:
  - name: first
    interval: 1m
    rules:
      - alert: Threshold
        expr: queue > 5
        for: 600ms
        labels: {severity: P1}
        annotations: {summary: "{{ $value }} wait"}
      - {alert: NotLongEnough, expr: queue > 5, for: 1m, labels: {severity: P1}}
      - {alert: Never, expr: queue > 1000, labels: {severity: P1}}
      - {alert: Increase, expr: "increase(errors_total[2s]) > 5", labels: {severity: P2}}
      - {alert: Rate, expr: "sum by (code) (rate(answers_total[2s])) > 4", labels: {severity: "{{ $labels.code }}"}}
      - alert: Ratio
        expr: sum(rate(answers_total{code=~"5.."}[2s])) / sum(rate(answers_total[2s])) > 0.5
        labels: {severity: P2}
      - {alert: Down, expr: up == 0, for: 300ms, labels: {severity: P1}}
      - {alert: Gone, expr: 'absent(heartbeat{service="b"})', labels: {severity: P3}}
  - name: second
    rules:
      - {alert: Outage, expr: outage == 1, labels: {severity: P4}}
      - {alert: Keeps, expr: lamp == 1, keep_firing_for: 1500ms, labels: {severity: P3}}
      - {alert: Both, expr: 'queue > 5 and on () up{job="b"} == 1', labels: {severity: P3}}
      - {alert: Alone, expr: 'queue unless on () (up{job="b"} == 1)', labels: {severity: P3}}
      - {alert: Moved, expr: "changes(lamp[3s]) > 1", labels: {severity: P4}}
      - {alert: Largest, expr: "max without (instance) (max_over_time(queue[1500ms])) > 5", labels: {severity: P3}}
"""
ROUTES = """
route:
  receiver: chat
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  routes:
    - {matchers: ['severity=~"P1|500"'], receiver: pager, continue: true}
    - {matchers: ['severity="P1"'], receiver: archive, group_by: ['...']}
    - {match: {severity: P4}, receiver: nobody}
inhibit_rules:
  - {source_matchers: ['alertname="Outage"'], target_matchers: ['alertname="Both"'], equal: [job]}
receivers:
  - {name: chat, slack_configs: [{channel: "#a", api_url: "https://chat.example.com/a"}]}
  - {name: pager, webhook_configs: [{url: "https://pager.example.com"}]}
  - {name: archive, webhook_configs: [{url: "https://archive.example.com"}]}
  - {name: nobody}
"""


class Scripted:
    """A /metrics endpoint that says what it is told to say, and nothing (503) while ``page`` is None."""

    def __init__(self, page: str) -> None:
        self.page: str | None = page
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = outer.page
                body = (page or "").encode()
                self.send_response(200 if page is not None else 503)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        port = self.server.server_address[1]
        self.service = SimpleNamespace(inside=("127.0.0.1", port), spec=ServiceSpec(command="true", metrics="/metrics"))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def a_says(queue: float, errors: float, ok: float, bad: float, lamp: int, outage: int = 0) -> str:
    """Service a: two gauges, and counters that grow."""
    return (
        f"# TYPE queue gauge\nqueue {queue}\n# TYPE errors_total counter\nerrors_total {errors}\n"
        f'# TYPE answers_total counter\nanswers_total{{code="200"}} {ok}\nanswers_total{{code="500"}} {bad}\n'
        f"# TYPE lamp gauge\nlamp {lamp}\n# TYPE outage gauge\noutage {outage}\n"
    )


B_SAYS = '# TYPE heartbeat gauge\nheartbeat{service="b"} 1\n'


class Side:
    """Prometheus and Alertmanager, or the stand-ins, and what they told: (time, receiver, status, alert)."""

    def __init__(self, name: str, folder: Path, services: dict[str, object], receiver: Receiver) -> None:
        self.told: list[tuple[float, str, str, dict[str, object]]] = []
        receiver.take(f"/{name}", self._take)
        self.journal = Journal(folder / f"{name}.journal")
        url = receiver.addresses()["url"] + f"/{name}"
        own = dict(services)
        specs = {
            "alertmanager": {"config": "routes.yml"},
            "prometheus": {"rules": ["*.rules.yml"], "scrape": ["a", "b"], "alertmanager": "alertmanager"},
        }
        made = {}
        for kind, args in specs.items():
            spec = ServiceSpec(provider=kind, args=args)
            made[kind] = create(kind, spec, folder=folder / name, journal=self.journal, emit=lambda row: None)
        own.update(made)
        for service in made.values():
            service.join(
                Neighbours(
                    own,
                    lambda other: own[other].inside,
                    lambda *_: None,
                    folder=folder,
                    receiver=lambda: {"alerts_url": url},
                    alerting=name,
                )
            )
        self.alertmanager, self.prometheus = made["alertmanager"], made["prometheus"]

    def _take(self, call) -> Answer:
        said = json.loads(call.body)
        for alert in said["alerts"]:
            self.told.append((call.at, call.path.rpartition("/")[2], alert["status"], alert))
        return Answer(200)

    def start(self) -> None:
        self.alertmanager.start()
        self.prometheus.start()

    def stop(self) -> None:
        self.prometheus.stop()
        self.alertmanager.stop()
        assert self.journal.open_entries() == []
        self.journal.close()

    def lives(self) -> Counter:
        """What was told, without times; what was told again within one message counts once."""
        return Counter(
            (receiver, status, tuple(sorted(alert["labels"].items())))
            for receiver, status, alert in {
                (receiver, status, alert["startsAt"], alert["fingerprint"]): (receiver, status, alert)
                for _, receiver, status, alert in self.told
            }.values()
        )

    def times(self) -> dict[tuple, list[float]]:
        """When each was told first."""
        found: dict[tuple, dict[str, float]] = {}
        for at, receiver, status, alert in self.told:
            key = (receiver, status, tuple(sorted(alert["labels"].items())))
            found.setdefault(key, {}).setdefault(alert["startsAt"], at)
        return {key: sorted(moments.values()) for key, moments in found.items()}


@pytest.fixture
def scene(tmp_path):
    """Two scripted services, and both sides ready."""
    if any(find_program(name) is None for name in PROGRAMS):
        pytest.skip("needs prometheus and prometheus-alertmanager (apt install) to compare with")
    (tmp_path / "team.rules.yml").write_text(RULES)
    (tmp_path / "routes.yml").write_text(ROUTES)
    a, b, receiver = Scripted(a_says(0, 0, 0, 0, 0)), Scripted(B_SAYS), Receiver()
    receiver.start("127.0.0.1")
    services = {"a": a.service, "b": b.service}
    sides = [Side(name, tmp_path, services, receiver) for name in ("prometheus", "embedded")]
    try:
        for side in sides:
            side.start()
        for side in sides:
            side.prometheus.settle()
            side.told.clear()
        yield SimpleNamespace(a=a, b=b, sides=sides)
    finally:
        for side in sides:
            side.stop()
        for each in (a, b, receiver):
            each.close() if isinstance(each, Scripted) else each.stop()


def play(scene) -> None:
    """The same ten seconds for both: thresholds, growing and reset counters, a target that goes and comes."""
    start = now()

    def until(seconds: float) -> None:
        sleep_until(start + seconds)

    ok = bad = errors = 0.0
    for step in range(100):
        until(step / 10)
        queue = 9 if 10 <= step < 30 else 7 if 60 <= step < 75 else 0
        lamp = 1 if 35 <= step < 42 else 0
        ok += 0.2
        bad += 2 if 10 <= step < 40 else 0
        errors += 2 if 10 <= step < 25 or 70 <= step < 85 else 0
        if step == 45:
            errors = 1.0  # the process was restarted
        scene.a.page = a_says(queue, errors, ok, bad, lamp, outage=int(3 <= step < 40))
        scene.b.page = None if 50 <= step < 66 else B_SAYS
    until(10)
    scene.a.page = a_says(0, errors, ok, bad, 0)


def test_same_alerts_at_the_same_time(scene) -> None:
    """Every alert is told to the same receivers as often, and neither earlier nor later than the bound."""
    play(scene)
    real, ours = scene.sides

    def quiet() -> bool:
        return all(
            not side.prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"] and side.alertmanager.silent()
            for side in scene.sides
        )

    wait_for(quiet, what="all alerts to end", limit=20)
    wait_for(
        lambda: ours.lives() == real.lives(),
        what="the same to be told",
        limit=3,
        last_seen=lambda: difference(real, ours),
    )
    fired = {dict(labels)["alertname"] for _, status, labels in real.lives() if status == "firing"}
    told = {"Threshold", "Increase", "Rate", "Ratio", "Down", "Gone", "Keeps", "Both", "Alone", "Largest"}
    assert fired == told  # the others never fire, or nobody is told
    assert sum(dict(labels)["alertname"] == "Both" for _, _, labels in real.lives().elements()) == 2  # once inhibited
    theirs, mine = real.times(), ours.times()
    apart = {
        (key[0], key[1], dict(key[2])["alertname"]): max(
            abs(a - b) for a, b in zip(theirs[key], mine[key], strict=True)
        )
        for key in theirs
    }
    print(json.dumps({" ".join(key): round(value, 2) for key, value in apart.items()}, indent=1))
    assert {key: value for key, value in apart.items() if value > APART} == {}


def difference(real: Side, ours: Side) -> str:
    """What only one of them told."""
    return (
        f"only Prometheus: {dict(real.lives() - ours.lives())}; only the stand-in: {dict(ours.lives() - real.lives())}"
    )


def test_both_forget_when_told_to(scene) -> None:
    """Between scenarios both lose their data and their alerts, without being started anew."""
    scene.a.page = a_says(9, 50, 1, 1, 1)
    for side in scene.sides:
        wait_for(
            lambda side=side: len(side.prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"]) > 3,
            what="alerts",
            limit=10,
        )
    scene.a.page = a_says(0, 50, 1, 1, 0)
    for side in scene.sides:
        pid = side.prometheus.pid
        side.prometheus.reset()
        side.prometheus.settle()
        assert side.prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"] == []
        assert side.prometheus.pid == pid
