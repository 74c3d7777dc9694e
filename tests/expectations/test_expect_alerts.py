"""``alerts``: which fire, when, and what they say; each field held and violated, and what proves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from alert_rows import BROKEN, HELD, NAME, ORIGIN, VACUOUS, VIOLATED, Alerts, alert, judged, look
from pydantic import ValidationError

from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import Read
from chaoskit.language.expectation import Awaits, Collects, Outcome


@pytest.mark.parametrize(
    ("asked", "id_", "outcome", "seen"),
    [
        ({}, "fires", HELD, "after 2s"),
        ({"fires_within": "2s"}, "fires_within", HELD, "after 2s"),
        ({"fires_within": "1.9s"}, "fires_within", VIOLATED, "after 2s"),
        ({}, "not_before_fault", HELD, "silent until then"),
        ({"delivered_within": "2.2s"}, "delivered_within", HELD, "after 2.1s"),
        ({"delivered_within": "2s"}, "delivered_within", VIOLATED, "after 2.1s"),
        ({"delivered_within": "3s", "receiver": "pager"}, "delivered_within", HELD, "after 2.1s"),
        ({"delivered_within": "3s", "receiver": "chat"}, "delivered_within", VIOLATED, "not delivered"),
        ({"resolves_within": "2s"}, "resolves_within", HELD, "2s after it"),
        ({"resolves_within": "1.9s"}, "resolves_within", VIOLATED, "2s after it"),
        ({"times": 1}, "times", HELD, "fired 1 time"),
        ({"times": 2}, "times", VIOLATED, "fired 1 time"),
        ({"times": "1..3"}, "times", HELD, "fired 1 time"),
        ({"notifications": "<= 3"}, "notifications", HELD, "delivered 3 times for 1 incident"),
        ({"notifications": "<= 2"}, "notifications", VIOLATED, "delivered 3 times for 1 incident"),
        ({"notifications": 0, "receiver": "chat"}, "notifications", HELD, "delivered 0 times for 1 incident"),
        ({"severity": "P2"}, "severity", HELD, "in all of 1"),
        ({"severity": "P1"}, "severity", VIOLATED, "severity is 'P2'"),
        ({"labels": {"service": "orders"}}, "labels.service", HELD, "in all of 1"),
        ({"labels": {"service": "users"}}, "labels.service", VIOLATED, "service is 'orders'"),
        ({"labels": {"team": "a"}}, "labels.team", VIOLATED, "team is absent"),
        ({"annotations": {"summary": r"^\d+ panics$"}}, "annotations.summary", HELD, "in all of 1"),
        ({"annotations": {"summary": "errors"}}, "annotations.summary", VIOLATED, "summary is '12 panics'"),
        ({"annotations": {"details": "x"}}, "annotations.details", VIOLATED, "details is absent"),
        ({"runbook": "present"}, "runbook", HELD, "in all of 1"),
        ({"where": {"service": "orders"}}, "fires", HELD, "after 2s"),
        ({"where": {"service": "users"}}, "fires", VIOLATED, "never fired"),
    ],
)  # fmt: skip
def test_each_field(panics: Any, by_id: Any, asked: dict[str, Any], id_: str, outcome: Outcome, seen: str) -> None:
    """What it is called, what it comes to, and what is said of it."""
    finding = judged(by_id, panics, name=NAME, **asked)[f"alerts.{NAME}.{id_}"]
    assert (finding.outcome, finding.seen) == (outcome, seen)


def test_the_story(panics: Any, by_id: Any) -> None:
    """From the metric's change to the notification; a metric that always moves, or is only a label, says nothing."""
    panics.samples("panics_total", lambda at: 0.0 if at < 0.5 else 12.0)
    panics.samples("increase", lambda at: at)
    panics.samples("orders_x", lambda at: float(at > 0))
    finding = judged(by_id, panics, name=NAME, fires_within="5s")[f"alerts.{NAME}.fires_within"]
    assert finding.worst == (
        "panics_total changed +625ms, pending +1s, firing +2s (1.38s after the change), delivered +2.1s"
    )
    assert finding.rows == ("OrdersPanics{service=orders, severity=P2}: pending +1s, firing +2s, over +8s",)


def test_two_lives(panics: Any, by_id: Any) -> None:
    """An alert that comes back counts twice, and the last end counts."""
    panics.add(alert(9.0, "firing"))
    found = judged(by_id, panics, name=NAME, times=1, resolves_within="5s")
    assert found[f"alerts.{NAME}.times"].outcome is VIOLATED
    assert found[f"alerts.{NAME}.times"].seen == "fired 2 times"
    assert found[f"alerts.{NAME}.resolves_within"].outcome is VIOLATED
    panics.add(alert(9.5, "inactive"))
    assert (
        judged(by_id, panics, name=NAME, resolves_within="5s")[f"alerts.{NAME}.resolves_within"].seen == "3.5s after it"
    )


def test_instances_are_told_apart(panics: Any, by_id: Any) -> None:
    """Alerts of one name with other labels live their own lives; ``where`` selects."""
    panics.add(alert(3.0, "firing", labels={"service": "users"}))
    panics.add(alert(4.0, "inactive", labels={"service": "users"}))
    assert judged(by_id, panics, name=NAME, times=2)[f"alerts.{NAME}.times"].outcome is HELD
    assert judged(by_id, panics, name=NAME, times=1, where={"service": "users"})[f"alerts.{NAME}.times"].held


@pytest.mark.parametrize("state", ["pending", "firing"])
def test_before_the_fault(rehearse: Any, by_id: Any, state: str) -> None:
    """An alert whose cause was there before the fault proves nothing about it, even if it fires later."""
    rehearsal = rehearse()
    look(rehearsal)
    rehearsal.add(alert(-0.5, state))
    rehearsal.add(alert(1.0, "firing"))
    found = judged(by_id, rehearsal, name=NAME)
    assert found[f"alerts.{NAME}.not_before_fault"].outcome is VIOLATED
    assert found[f"alerts.{NAME}.not_before_fault"].seen == "active 500ms before the first fault"
    assert found[f"alerts.{NAME}.fires"].outcome is VIOLATED
    assert f"alerts.{NAME}.not_before_fault" not in judged(by_id, rehearsal, name=NAME, not_before_fault=False)


def test_never_fired(rehearse: Any, by_id: Any) -> None:
    """That is a violation; what is asked of lives that there were none of is vacuous."""
    rehearsal = rehearse()
    look(rehearsal)
    rehearsal.add(alert(2.0, "pending"))
    found = judged(by_id, rehearsal, name=NAME, fires_within="5s", resolves_within="2s", severity="P2", times=1)
    fires = found[f"alerts.{NAME}.fires_within"]
    assert (fires.outcome, fires.seen) == (VIOLATED, "never fired, was pending")
    assert found[f"alerts.{NAME}.times"].outcome is VIOLATED
    assert found[f"alerts.{NAME}.resolves_within"].outcome is VACUOUS
    assert found[f"alerts.{NAME}.severity"].outcome is VACUOUS


@pytest.mark.parametrize(
    ("rules", "outcome", "words"),
    [
        ({"names": ("Other",)}, VIOLATED, "no rule named OrdersPanics is evaluated"),
        ({"failing": {NAME: "no such function"}}, VIOLATED, "cannot be evaluated: no such function"),
        ({"error": "ConnectionRefusedError"}, BROKEN, "the rules could not be asked: ConnectionRefusedError"),
        ({"evaluated": {}}, BROKEN, "was not evaluated after the first fault began"),
        ({"evaluated": {NAME: ORIGIN - 1.0}}, BROKEN, "was not evaluated after the first fault began"),
    ],
)
def test_why_it_never_fired(rehearse: Any, by_id: Any, rules: dict[str, Any], outcome: Outcome, words: str) -> None:
    """A rule that is not there is the team's; rules that nobody evaluated say nothing about the service."""
    rehearsal = rehearse()
    look(rehearsal, **rules)
    finding = judged(by_id, rehearsal, name=NAME)[f"alerts.{NAME}.fires"]
    assert finding.outcome is outcome
    assert words in finding.seen


def test_a_history_that_ends_too_early(rehearse: Any, by_id: Any) -> None:
    """It proves neither that an alert does not come nor that it does not go."""
    rehearsal = rehearse()
    look(rehearsal)
    finding = judged(by_id, rehearsal, name=NAME, fires_within="60s")[f"alerts.{NAME}.fires_within"]
    assert (finding.outcome, finding.seen) == (VACUOUS, "never fired, but the history ends after 11s")
    rehearsal.add(alert(2.0, "firing"))
    found = judged(by_id, rehearsal, name=NAME, resolves_within="60s", delivered_within="60s")
    assert found[f"alerts.{NAME}.resolves_within"].outcome is VACUOUS
    assert found[f"alerts.{NAME}.delivered_within"].outcome is VACUOUS


def test_refused_deliveries(rehearse: Any, by_id: Any) -> None:
    """They were not delivered, and are told."""
    rehearsal = rehearse()
    look(rehearsal)
    rehearsal.add(alert(1.0, "firing"))
    for at in (1.2, 1.5):
        rehearsal.add(alert(at, "delivered", source="alertmanager", refused="503"))
    finding = judged(by_id, rehearsal, name=NAME, delivered_within="5s")[f"alerts.{NAME}.delivered_within"]
    assert (finding.outcome, finding.seen) == (VIOLATED, "not delivered; the sink failed 2 of them")
    rehearsal.add(alert(3.0, "delivered", source="alertmanager"))
    finding = judged(by_id, rehearsal, name=NAME, delivered_within="5s")[f"alerts.{NAME}.delivered_within"]
    assert (finding.outcome, finding.seen) == (HELD, "after 3s; the sink failed 2 of them")


def test_what_comes_after_the_traffic(panics: Any, by_id: Any) -> None:
    """An alert that fires because the scenario is over is nobody's fault."""
    panics.add(alert(11.5, "firing", "OrdersDown"))
    assert judged(by_id, panics, name="OrdersDown", never=True)["alerts.OrdersDown.never"].held


# Runbooks


class CollectContext:
    """Answers with a status, or not."""

    def __init__(self, answer: int | str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, url: str) -> int:
        self.asked.append(url)
        if isinstance(self.answer, str):
            raise BrokenError(self.answer)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (200, HELD, "in all of 1"),
        (302, HELD, "in all of 1"),
        (404, VIOLATED, "http://127.0.0.1:1/panics answers 404"),
        ("it does not answer", VIOLATED, "it does not answer"),
    ],
)
def test_a_runbook_that_answers(panics: Any, by_id: Any, answer: int | str, outcome: Outcome, words: str) -> None:
    """It is asked once, after the run; the answer is part of the history."""
    expectation = Alerts.model_validate({"name": NAME, "runbook": "answers"})
    assert isinstance(expectation, Collects)
    reader = CollectContext(answer)
    for row in expectation.collect(reader, panics.view()):
        panics.add(row)
    assert reader.asked == ["http://127.0.0.1:1/panics"]
    finding = by_id(expectation, panics.view())[f"alerts.{NAME}.runbook"]
    assert (finding.outcome, finding.seen) == (outcome, words)
    assert len(panics.history.rows(Read)) == 1


@pytest.mark.parametrize(
    ("annotations", "words"),
    [({}, "neither runbook_url nor runbook is there"), ({"runbook": "ask Anna"}, "'ask Anna' is no link")],
)
def test_no_runbook(rehearse: Any, by_id: Any, annotations: dict[str, str], words: str) -> None:
    """It is missing, or no link."""
    rehearsal = rehearse()
    look(rehearsal)
    rehearsal.add(alert(1.0, "firing", annotations=annotations))
    expectation = Alerts.model_validate({"name": NAME, "runbook": "present"})
    assert list(expectation.collect(CollectContext(200), rehearsal.view())) == []
    finding = by_id(expectation, rehearsal.view())[f"alerts.{NAME}.runbook"]
    assert (finding.outcome, finding.seen) == (VIOLATED, words)


# Waiting


def test_awaits(rehearse: Any) -> None:
    """Until what it waits for is there, and not beyond its limit."""
    rehearsal = rehearse()
    asked = {"name": NAME, "fires_within": "8s", "delivered_within": "9s", "resolves_within": "10s"}
    expectation = Alerts.model_validate(asked)
    assert isinstance(expectation, Awaits)

    def awaits(at: float) -> bool:
        answer: bool = expectation.awaits(rehearsal.view(), ORIGIN + at)
        return answer

    assert (awaits(7.9), awaits(8.9), awaits(9.1)) == (True, True, False)
    rehearsal.add(alert(11.5, "firing"))
    assert (awaits(8.9), awaits(12.0), awaits(15.9), awaits(16.1)) == (True, True, True, False)
    rehearsal.add(alert(12.0, "inactive"))
    assert (awaits(8.9), awaits(12.1)) == (True, False)
    rehearsal.add(alert(11.6, "delivered", source="alertmanager"))
    assert not awaits(8.9)


def test_silence_awaits_its_proof(rehearse: Any) -> None:
    """An evaluation after the last fault."""
    rehearsal = rehearse()
    look(rehearsal, end=5.5)
    expectation = Alerts.model_validate({"name": NAME, "never": True})
    assert expectation.awaits(rehearsal.view(), ORIGIN + 6.5)
    assert not expectation.awaits(rehearsal.view(), ORIGIN + 16.5)
    look(rehearsal, start=6.5, end=8.0)
    assert not expectation.awaits(rehearsal.view(), ORIGIN + 6.5)


# At load


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "it is not said which alert"),
        ({"severity": "P1"}, "it is not said which alert"),
        ({"name": NAME, "times": 0}, "written with never"),
        ({"name": NAME, "times": "< 1"}, "written with never"),
        ({"name": NAME, "never": True, "fires_within": "1s"}, "what never fires has no fires_within"),
        ({"nothing_else": True, "name": NAME}, "stands alone in its entry, without name"),
        ({"name": NAME, "ignore": ["A"]}, "ignore belongs to nothing_else"),
        ({"name": NAME, "annotations": {"summary": "("}}, "is not a regular expression"),
        ({"name": NAME, "fires_within": "5"}, "5"),
        ({"name": "OrdersPanic"}, "no rule file of the environment has an alert 'OrdersPanic'"),
    ],
)
def test_mistakes(asked: dict[str, Any], words: str) -> None:
    """They are told when the scenario is loaded."""
    with pytest.raises(ValidationError) as error:
        Alerts.model_validate(asked, context={"alerts": frozenset({NAME})})
    assert words in str(error.value)


def test_names_that_cannot_be_checked() -> None:
    """Of an application, and where the rule files cannot be read."""
    Alerts.model_validate({"source": "application", "name": "X"}, context={"alerts": frozenset({NAME})})
    Alerts.model_validate({"name": "X"}, context={"alerts": None})
    Alerts.model_validate({"name": "X"})
