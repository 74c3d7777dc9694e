"""The plan of a scenario: what starts and stops when, as data and as text, without touching anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.engine.plan import Step, describe, plan
from chaoskit.language.loader import load
from chaoskit.language.scenario import Scenario

TEXT = """\
scenario: Two faults
case: B7
severity: critical
environment:
  services: {db: {provider: noop}, orders: {command: x}}
control:
  with: {orders: {env: {POOL: none}, restart: never}}
  violates: [during.place.p99]
traffic:
  place: {request: "GET {{ orders.url }}/", rate: 40/s, copies: 2}
steady_state:
  place: {success_rate: ">= 99%"}
timeline:
  steady: 3s
  faults:
    - late: {pause: {service: orders}, at: 2s, for: 5s}
    - early: {latency: {on: db, delay: 800ms}, for: 6s}
  recovery: 10s
  after: 2s
expect:
  during: {place: {p99: "< 1s"}}
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A scenario with two overlapping faults."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "two.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)
    return scenario


def test_steps_in_order_of_time(scenario: Scenario) -> None:
    """Faults count from the end of steady; recovery is a limit behind the last of them."""
    planned = plan(scenario)
    assert [(step.at, step.length, step.target) for step in planned.steps] == [
        (0, 3, ""),
        (3, 6, "db"),
        (5, 5, "orders"),
        (10, 10, ""),
        (20, 2, ""),
    ]
    assert planned.steps[0] == Step(0.0, 3.0, "phase steady")
    assert planned.declared == 3 + 7 + 2


def test_the_plan_as_text(scenario: Scenario) -> None:
    """Everything a person asks before a run: what, when, on what, judged by what."""
    text = "\n".join(describe(plan(scenario)))
    for words in (
        "Two faults",
        "two.chaos.yaml   severity critical   case B7",
        "inline: db, orders",
        "place: GET {{ orders.url }}/ at 40/s × 2 copies",
        "3s  for 6s       fault early: latency",
        "5s  for 5s       fault late: pause",
        "touches      db, orders",
        "judges       during",
        "orders: POOL=none, orders: restart=never must violate during.place.p99",
    ):
        assert words in text


def test_a_plan_reads_like_the_file(scenario: Scenario) -> None:
    """Quantities have their units; arguments that were not given are not shown."""
    (step,) = [step for step in plan(scenario).steps if step.target == "db"]
    assert step.what == "fault early: latency on=db, delay=800ms"
