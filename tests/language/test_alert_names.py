"""Names of alerts in a scenario are checked against the rule files of its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.loader import load

RULES = """
groups:
  - name: a
    rules:
      - {alert: OrdersPanics, expr: panics_total > 10}
      - {record: sums, expr: sum(a)}
      - {alert: OrdersDown, expr: up == 0}
"""
MORE = "groups: [{name: b, rules: [{alert: Late, expr: b > 1}]}]\n"
ENVIRONMENT = """
environment: shop
services:
  stub: {provider: http_stub, args: {routes: [{path: /}]}}
  prometheus: {provider: prometheus, args: {rules: ["../rules/*.rules.yaml"]}}
"""
SCENARIO = """
scenario: Panics are told
environment: shop
WITH
traffic:
  ask: {request: "GET {{ stub.url }}/", rate: 10/s}
steady_state:
  ask: {success_rate: ">= 99%"}
timeline:
  faults: [{f: {noop: {}, at: 0s, for: 1s}}]
expect:
  alerts:
    - ENTRY
    - {nothing_else: true}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with two rule files."""
    (tmp_path / "pyproject.toml").touch()
    for name in ("environments", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "environments" / "shop.yaml").write_text(ENVIRONMENT)
    (tmp_path / "rules" / "a.rules.yaml").write_text(RULES)
    (tmp_path / "other.yaml").write_text(MORE)
    return tmp_path


def mistakes(folder: Path, entry: str, changes: str = "") -> str:
    """The mistakes of a scenario with this entry; empty without any."""
    file = folder / "x.chaos.yaml"
    file.write_text(SCENARIO.replace("ENTRY", entry).replace("WITH", changes))
    try:
        load(file)
    except InputError as error:
        return str(error)
    return ""


def test_a_known_name(folder: Path) -> None:
    """It is in a file of the environment."""
    assert mistakes(folder, "{name: OrdersPanics}") == ""


def test_an_unknown_name(folder: Path) -> None:
    """Its line, the legal names, and what was probably meant."""
    told = mistakes(folder, "{name: OrdersPanic, times: 1}")
    assert told.endswith(
        "x.chaos.yaml:13: name: no rule file of the environment has an alert 'OrdersPanic'; legal: OrdersDown, "
        "OrdersPanics; did you mean 'OrdersPanics'?"
    )


def test_never_is_checked_too(folder: Path) -> None:
    """An alert that does not exist never fires, which would always hold."""
    assert "no rule file" in mistakes(folder, "{name: OrdersSlow, never: true}")


def test_an_application_names_its_own(folder: Path) -> None:
    """No rule stands behind them."""
    assert mistakes(folder, "{name: PoolEmpty, source: application}") == ""


@pytest.mark.parametrize(
    "changes",
    [
        'with: {prometheus: {args: {rules: ["../other.yaml"]}}}',
        'control: {with: {prometheus: {args: {rules: ["../other.yaml"]}}}, violates: [alerts]}',
    ],
)
def test_rules_that_the_scenario_puts_in_place(folder: Path, changes: str) -> None:
    """They count like those of the environment."""
    assert "no rule file" in mistakes(folder, "{name: Late}")
    assert mistakes(folder, "{name: Late}", changes) == ""


def test_the_others_of_the_list_are_known(folder: Path) -> None:
    """What one entry names is no noise for another."""
    mistakes(folder, "{name: OrdersDown}")
    (scenario,) = load(folder / "x.chaos.yaml")
    named, quiet = (planned.expectation for planned in scenario.expectations)
    assert quiet._named == {"OrdersDown"}
    assert named._named == frozenset()
