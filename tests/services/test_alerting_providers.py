"""The providers prometheus and alertmanager: what they run, what they write, what they say when it cannot be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Neighbours
from chaoskit.services.providers import _alerting
from chaoskit.services.providers import prometheus as prometheus_provider

RULES = "groups:\n  - name: g\n    rules:\n      - {alert: Down, expr: up == 0, keep_firing_for: 10s}\n"
ROUTES = "route: {receiver: chat}\nreceivers: [{name: chat, slack_configs: [{channel: '#a'}]}]\n"


@pytest.fixture
def team(bench, tmp_path):
    """Makes the two providers among other services, embedded, none of them started."""
    (tmp_path / "a.rules.yml").write_text(RULES)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.rules.yml").write_text(RULES.replace("Down", "Gone"))
    (tmp_path / "am.yml").write_text(ROUTES)

    def make(alerting: str = "embedded", proxied: bool = True, **args):
        others = {
            "web": SimpleNamespace(inside=("127.0.0.1", 1), spec=ServiceSpec(command="true", metrics="/metrics")),
            "db": SimpleNamespace(inside=("127.0.0.1", 2), spec=ServiceSpec(command="true")),
        }
        rules = {"rules": ["**/*.rules.yml"], **args}
        made = {
            "prometheus": bench.make("prometheus", provider="prometheus", args=rules),
            "alertmanager": bench.make("alertmanager", provider="alertmanager", args={"config": "am.yml"}),
        }
        services = {**others, **made}
        link = {"alertmanager": ("127.0.0.1", 4000) if proxied else made["alertmanager"].inside}.__getitem__
        for service in made.values():
            service.join(
                Neighbours(
                    services,
                    link,
                    lambda *_: None,
                    folder=tmp_path,
                    receiver=lambda: {"host": "127.0.0.1", "port": 5000, "alerts_url": "http://127.0.0.1:5000/alerts"},
                    alerting=alerting,
                )
            )
        return SimpleNamespace(**made)

    return make


def config_of(prometheus):
    """The configuration it would run with."""
    return yaml.safe_load(prometheus._config("/where"))


def test_what_is_scraped_and_who_is_told(team) -> None:
    """Every service with metrics, under its own name; the sink directly, or Alertmanager through its proxy."""
    direct = config_of(team().prometheus)
    (job,) = direct["scrape_configs"]
    assert job["job_name"] == "web"
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:1"], "labels": {"instance": "web"}}]
    assert direct["alerting"]["alertmanagers"][0]["path_prefix"] == "/alerts"
    assert direct["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["127.0.0.1:5000"]}]
    assert direct["global"]["scrape_interval"] == "200ms"
    routed = config_of(team(alertmanager="alertmanager", scrape_every="500ms").prometheus)
    assert routed["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["127.0.0.1:4000"]}]
    assert "path_prefix" not in routed["alerting"]["alertmanagers"][0]
    assert routed["global"]["scrape_interval"] == "500ms"


def test_two_files_of_one_name(team) -> None:
    """Both are run."""
    names = config_of(team().prometheus)["rule_files"]
    assert len(set(names)) == 2


def test_a_service_without_metrics_cannot_be_scraped(team) -> None:
    """It is told before anything is started."""
    with pytest.raises(BrokenError, match="is to scrape db, which does not say where its metrics: are"):
        config_of(team(scrape=["db"]).prometheus)


def test_a_target_that_does_not_answer(team, monkeypatch) -> None:
    """The error names it, and what was seen of it."""
    monkeypatch.setattr(prometheus_provider, "DISCOVERY", 1.0)
    prometheus = team().prometheus
    prometheus.start()
    with pytest.raises(BrokenError, match=r"prometheus to scrape web .*last seen: web: .*Connection refused"):
        prometheus.settle()


def test_the_stand_ins_start_and_answer(team) -> None:
    """Each is ready as the original would be, and leaves nothing."""
    made = team(alertmanager="alertmanager", proxied=False)
    made.alertmanager.start()
    made.prometheus.start()
    wait_for(lambda: not made.alertmanager.silent(), what="an alert", limit=10)  # nobody is at home at web
    alerts = made.prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"]
    assert {(alert["labels"]["alertname"], alert["state"]) for alert in alerts} == {
        ("Down", "firing"),
        ("Gone", "firing"),
    }
    groups = made.prometheus.call("GET", "/api/v1/rules")["data"]["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"]] == ["Down", "Gone"]
    assert made.prometheus.told()["version"] == "embedded"
    with pytest.raises(BrokenError, match="status 404"):
        made.prometheus.call("GET", "/api/v1/query?query=up")


@pytest.mark.parametrize(
    ("option", "runtime", "there", "found"),
    [
        ("auto", "process", True, "prometheus"),
        ("auto", "process", False, "embedded"),
        ("auto", "docker", False, "prometheus"),
        ("embedded", "process", True, "embedded"),
        ("prometheus", "process", True, "prometheus"),
        ("prometheus", "docker", False, "prometheus"),
    ],
)
def test_which_way_serves(monkeypatch, option, runtime, there, found) -> None:
    """Prometheus where it is, or is a container; else the stand-in."""
    monkeypatch.setattr(_alerting, "find_program", lambda name: f"/bin/{name}" if there else None)
    assert _alerting.resolve(option, runtime) == found


@pytest.mark.parametrize(
    ("option", "runtime", "what"),
    [
        ("prometheus", "process", "not on the PATH: prometheus, prometheus-alertmanager or alertmanager. Install"),
        ("embedded", "docker", "embedded serves environments of processes"),
        ("prometeus", "process", "unknown way of alerting 'prometeus'; .*did you mean 'prometheus'"),
    ],
)
def test_what_is_not_to_be_had(monkeypatch, option, runtime, what) -> None:
    """It says what to do."""
    monkeypatch.setattr(_alerting, "find_program", lambda name: None)
    with pytest.raises(ChaosError, match=what):
        _alerting.resolve(option, runtime)
