"""What ``chaoskit plan`` says a scenario will touch: all of it, and for the setting that it will run in."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.engine.blast_report import touches
from chaoskit.language.loader import load
from chaoskit.language.run_target import Setting
from chaoskit.language.scenario import Scenario

TEXT = """\
scenario: Touches much
environment:
  services:
    db: {provider: noop, proxy: false}
    orders:
      command: [python, -m, "my shop"]
      image: shop:1
      port: 8001
      cwd: src
      restart: always
      env: {AUDIT_URL: "https://audit.example.com"}
      reset: ["POST /forget"]
traffic:
  place: {request: "GET {{ orders.url }}/", rate: 40/s}
steady_state:
  place: {success_rate: ">= 99%"}
timeline:
  steady: 3s
  faults:
    - late: {pause: {service: orders}, at: 2s, for: 5s}
    - early: {kill: {service: orders}, for: 1s}
"""

EMBEDDED = Setting("embedded", "process")


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """One that touches much."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "much.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)
    return scenario


def line(lines: list[str], start: str) -> str:
    """The one line that starts so, without its first word."""
    [found] = [line.strip() for line in lines if line.strip().startswith(f"{start} ")]
    return found.removeprefix(start).strip()


def test_what_is_touched_with_processes(scenario: Scenario) -> None:
    """Every service with how it runs, every fault with target and window, proxies, ports, hosts, files."""
    lines = list(touches(scenario, EMBEDDED))
    assert line(lines, "db") == "a process of the provider noop, with data of its own"
    assert line(lines, "orders") == (
        "a process: python -m 'my shop'; in src; started again when it ends (always); "
        "told to forget between scenarios (POST /forget)"
    )
    assert line(lines, "early") == "kill on orders, 3s to 4s"
    assert line(lines, "late") == "pause on orders, 5s to 10s"
    assert lines.index(next(each for each in lines if " early " in each)) < lines.index(
        next(each for each in lines if " late " in each)
    )
    assert any("SIGSTOP" in each for each in lines), "what a fault does is told in its own words"
    assert line(lines, "runs on").startswith("processes of this machine; Toxiproxy embedded")
    assert line(lines, "proxies") == "orders"
    assert line(lines, "containers") == "none"
    assert line(lines, "ports") == "free ones of 127.0.0.1 between 20000 and 31999; 8001 (orders)"
    assert "reports/runs/" in line(lines, "leaves")


def test_a_host_beyond_is_told(scenario: Scenario) -> None:
    """Refused with its line, or allowed."""
    lines = list(touches(scenario, EMBEDDED))
    assert line(lines, "hosts") == "loopback and its own services, audit.example.com (refused)"
    assert line(lines, "refused").startswith("much.chaos.yaml:11: AUDIT_URL of orders leads to audit.example.com")
    lines = list(touches(scenario, EMBEDDED, {"audit.example.com"}))
    assert line(lines, "hosts") == "loopback and its own services, audit.example.com (allowed)"
    assert not [each for each in lines if "refused" in each]


def test_what_could_not_be_looked_at_is_told(scenario: Scenario) -> None:
    """Always that services may connect to more than they are told to."""
    lines = list(touches(scenario, EMBEDDED))
    assert line(lines, "not seen") == "what services connect to beyond what their variables and commands say"


def test_what_is_touched_with_containers(scenario: Scenario) -> None:
    """Images, containers with their labels, the network, where ports are published."""
    lines = list(touches(scenario, Setting("embedded", "docker")))
    assert line(lines, "orders").startswith("a container of shop:1 running python -m 'my shop'; started again")
    assert line(lines, "db") == "a container of python:3.11-slim"
    assert line(lines, "containers").startswith("2 for services, one or more for proxies; one network; ")
    assert "chaoskit.run=RUN" in line(lines, "containers")
    assert "the network's gateway" in line(lines, "ports")


PROVIDERS = """\
  services:
    db: {provider: postgres, args: {version: 15, replica: true}}
    other: {provider: postgres, image: "team/postgres:1"}
    cache: {provider: redis, build: {context: .}}
    queue: {provider: redis}
    prometheus: {provider: prometheus, args: {rules: [team.rules.yml]}}
    mine: {provider: noop, proxy: false}
"""


def test_the_images_are_named(scenario: Scenario, tmp_path: Path) -> None:
    """Of providers by their version, of proxies and of Toxiproxy; only what is taken in that setting."""
    (tmp_path / "team.rules.yml").write_text("groups: []\n", encoding="utf-8")
    start, end = TEXT.index("  services:\n"), TEXT.index("    orders:\n")
    file = tmp_path / "images.chaos.yaml"
    file.write_text(TEXT[:start] + PROVIDERS + TEXT[end:], encoding="utf-8")
    (many,) = load(file)
    lines = list(touches(many, Setting("embedded", "docker")))
    own = "postgres:15, prom/prometheus:latest, python:3.11-slim, redis:7, shop:1, team/postgres:1"
    assert line(lines, "images") == f"{own}, python:3.11-slim (proxies)"
    assert line(lines, "db") == line(lines, "db-replica") == "a container of postgres:15"
    assert line(lines, "cache").startswith("a container of an image built for it; built from ")
    lines = list(touches(many, Setting("docker", "docker")))
    assert line(lines, "images").endswith(", python:3.11-slim (proxies), ghcr.io/shopify/toxiproxy:2.12.0 (Toxiproxy)")
    assert "Toxiproxy the original" in line(lines, "runs on")
    assert not [each for each in touches(many, EMBEDDED) if each.startswith("  images")]
    assert line(list(touches(many, Setting("docker", "process"))), "images") == (
        "ghcr.io/shopify/toxiproxy:2.12.0 (Toxiproxy)"
    )


@pytest.mark.parametrize(
    ("toxiproxy", "server", "containers"),
    [
        ("binary", "the program toxiproxy-server", "none"),
        ("docker", "the original in a container of the run", "one, for Toxiproxy"),
        ("http://127.0.0.1:8474", "at http://127.0.0.1:8474, which is not ours", "none"),
    ],
)
def test_which_toxiproxy_is_touched(scenario: Scenario, toxiproxy: str, server: str, containers: str) -> None:
    """Whose it is, and whether a container is made for it."""
    lines = list(touches(scenario, Setting(toxiproxy, "process")))
    assert server in line(lines, "runs on")
    assert line(lines, "containers").startswith(containers)
