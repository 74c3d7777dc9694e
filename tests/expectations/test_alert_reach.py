"""An alert that never fired: why, as far as the history knows, and what else is not there for that reason alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.history.alerts import fingerprint
from chaoskit.history.rows import Alert, Rules
from chaoskit.language.expectation import EXPECTATIONS, Finding, Outcome

Alerts, Sop = EXPECTATIONS.get("alerts"), EXPECTATIONS.get("sop")
ORIGIN = 1000.0
NAME = "Slow"
BUSY = 'rate(busy_total{job="orders"}[4s])'


def alert(at: float, state: str, **labels: str) -> Alert:
    """A row of the rules; moments count from the start of the fault."""
    labels = {"alertname": NAME, "severity": "P2", **labels}
    return Alert(name=NAME, state=state, at=ORIGIN + at, source="rules", fingerprint=fingerprint(labels), labels=labels)


@pytest.fixture
def looked(rehearse: Any) -> Callable[..., Any]:
    """A rehearsal (fault from 0 to 6 s, end at 11 s) whose rule is evaluated all the time."""

    def make(query: str = "depth > 5", waits: float = 0.0) -> Any:
        rehearsal = rehearse()
        for second in range(-5, 12):
            at = ORIGIN + second
            looks = {"evaluated": {NAME: at - 0.1}, "queries": {NAME: query}, "waits": {NAME: waits}}
            rehearsal.add(Rules(at=at, **looks))
        rehearsal.samples("depth", lambda at: 9.0 if at < 0 else 3.2 if 2 < at < 3 else 1.0)
        rehearsal.samples('busy_total{of="a\\"}"}', lambda at: max(at, 0.0) * 2)
        return rehearsal

    return make


def fires(by_id: Any, rehearsal: Any, **asked: Any) -> Finding:
    """The first finding about the alert."""
    found: dict[str, Finding] = by_id(Alerts.model_validate({"name": NAME, **asked}), rehearsal.view())
    return found[f"alerts.{NAME}.fires"]


@pytest.mark.parametrize(
    ("query", "worst"),
    [
        ("depth > 5", "depth was 3.2 at most, never > 5"),
        ("5 < depth", "depth was 3.2 at most, never > 5"),
        ("depth < 1", "depth was 1 at least, never < 1"),
        ("depth == 2 * 4", "depth was 1 to 3.2, never == 8"),
        ("-depth - 1 > -(1)", "-depth - 1 was -2 at most, never > -1"),
        ('vector(3) + on () depth{instance="orders"} >= 7', 'was 6.2 at most, never >= 7'),
        (f"{BUSY} > 10", f"{BUSY} was 2 at most, never > 10"),
        ("depth > 5 and depth < 2", "depth was 3.2 at most, never > 5"),
        ("depth > 5 or depth < 0", "depth was 3.2 at most, never > 5; depth was 1 at least, never < 0"),
        ("(depth > 5) unless depth > 9", "depth was 3.2 at most, never > 5"),
        ('depth{job="typo"} > 5', 'depth{job="typo"} had no value (does a series have these labels?)'),
        ("depth{of!=\"\"} > 5", "had no value (does a series have these labels?)"),
        ("depth > bool 5", ""),  # a value either way
        ("depth > 2", ""),  # it was so
        ("depth > depth", ""),
        ("quantile(0.9, depth) > 5", ""),  # beyond our evaluator
        ("a newer (PromQL", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_how_near_it_came(looked: Any, by_id: Any, query: str, worst: str) -> None:
    """The values of the rule's expression from the first fault on (before it they were higher) against its limit."""
    finding = fires(by_id, looked(query))
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "never fired")
    if not worst:
        assert finding.worst == ""
        return
    assert worst in finding.worst
    assert finding.worst.endswith(" (by 44 scrapes since the first fault began)")


def test_values_that_the_history_has_not(looked: Any, by_id: Any) -> None:
    """Prometheus knows whether a target is up; our own scrapes do not."""
    assert fires(by_id, looked("up == 0")).worst == ""


def test_a_condition_that_did_not_last(looked: Any, by_id: Any) -> None:
    """For how long it was so, and how long it had to be."""
    rehearsal = looked(waits=5.0)
    for at, state in ((1.0, "pending"), (2.2, "inactive"), (4.0, "pending"), (4.5, "inactive")):
        rehearsal.add(alert(at, state))
    finding = fires(by_id, rehearsal)
    assert finding.seen == "never fired, was pending"
    assert finding.worst == "its condition was true for 1.2s at most (pending, never firing); `for` asks 5s"


def test_a_condition_that_came_too_late(looked: Any, by_id: Any) -> None:
    """It lasts until the history ends. An old history does not tell what `for` asks."""
    rehearsal = looked()
    rehearsal.add(alert(9.0, "pending"))
    worst = fires(by_id, rehearsal).worst
    assert worst == "its condition was true for 2s at most, until the history ends (pending, never firing)"


def test_other_labels(looked: Any, by_id: Any) -> None:
    """It fired, but not the one that is asked for."""
    rehearsal = looked()
    rehearsal.add(alert(1.0, "firing", service="users"))
    finding = fires(by_id, rehearsal, where={"service": "orders"})
    assert finding.worst == "it fired with other labels: Slow{service=users, severity=P2}"


ASKED = {"delivered_within": "3s", "resolves_within": "2s", "times": 1, "notifications": 1, "severity": "P2"}


def test_what_follows_from_silence(looked: Any, by_id: Any) -> None:
    """All that is asked of an alert that never fired; nothing does once it has."""
    rehearsal = looked()
    asked = Alerts.model_validate({"name": NAME, "runbook": "present", **ASKED})
    found = by_id(asked, rehearsal.view())
    because = {id_.removeprefix(f"alerts.{NAME}."): finding.because for id_, finding in found.items()}
    expected = dict.fromkeys([*ASKED, "runbook"], f"alerts.{NAME}")
    assert because == {"fires": "", "not_before_fault": "", **expected}
    rehearsal.add(alert(1.0, "firing"))
    assert {finding.because for finding in by_id(asked, rehearsal.view()).values()} == {""}


@pytest.mark.parametrize(
    ("asked", "told", "because", "worst"),
    [
        ({"alert": NAME}, "", f"alerts.{NAME}", f"no notification of {NAME} arrived"),
        ({"alert": NAME}, "Other", f"alerts.{NAME}", f"no notification of {NAME} arrived"),
        ({"alert": NAME}, NAME, "", ""),
        ({}, "", "alerts", "no notification arrived"),
        ({}, "Other", "", ""),
        ({"never": True}, "", "alerts", ""),
    ],
)
def test_an_sop_that_nothing_started(
    rehearse: Any, by_id: Any, asked: dict[str, Any], told: str, because: str, worst: str
) -> None:
    """That none ran follows from an alert that was not delivered."""
    rehearsal = rehearse()
    if told:
        rehearsal.add(Alert(name=told, state="delivered", at=ORIGIN + 1, source="application", fingerprint="f"))
    (finding,) = by_id(Sop.model_validate(asked), rehearsal.view()).values()
    assert (finding.because, finding.worst) == (because, worst)
