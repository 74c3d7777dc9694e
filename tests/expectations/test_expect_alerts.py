"""``alerts``: which fire, when, and what they say; each field held and violated, and what proves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chaoskit.errors import BrokenError
from chaoskit.expectations.base import EXPECTATIONS, Awaits, Collects, Outcome
from chaoskit.history.alerts import fingerprint, incidents
from chaoskit.history.rows import Alert, Read, Rules, Sample
from chaoskit.history.view import View

Alerts = EXPECTATIONS.get("alerts")
ORIGIN = 1000.0
HELD, VIOLATED, VACUOUS, BROKEN = Outcome.HELD, Outcome.VIOLATED, Outcome.VACUOUS, Outcome.BROKEN
NAME = "OrdersPanics"
QUERY = 'sum by (service) (increase(panics_total{service="orders_x"}[5m])) > 10'


def alert(at: float, state: str, name: str = NAME, *, source: str = "rules", **more: Any) -> Alert:
    """A row; moments count from the start of the fault."""
    labels = {"alertname": name, "severity": "P2", "service": "orders", **more.pop("labels", {})}
    notes = more.pop("annotations", {"summary": "12 panics", "runbook_url": "http://127.0.0.1:1/panics"})
    return Alert(
        name=name, state=state, at=ORIGIN + at, source=source, fingerprint=fingerprint(labels), labels=labels,
        annotations=notes, **more,
    )  # fmt: skip


def look(
    rehearsal: Any, names: tuple[str, ...] = (NAME,), *, start: float = -5.0, end: float = 11.0,
    scraped: tuple[str, ...] = ("panics_total",), **more: Any,
) -> None:  # fmt: skip
    """Rules that are evaluated five times a second, seen once a second; their metrics are there, and stand still."""
    for metric in scraped:
        rehearsal.add(Sample(service="orders", name=metric, at=ORIGIN + start, value=0.0))
    at = start
    while at < end:
        fields = {"evaluated": dict.fromkeys(names, ORIGIN + at - 0.1), "queries": dict.fromkeys(names, QUERY), **more}
        rehearsal.add(Rules(at=ORIGIN + at, **fields))
        at += 1.0


@pytest.fixture
def panics(rehearse: Any) -> Any:
    """An alert that is pending from 1 s, fires from 2 s (told at 2.1, 3.1, 4.1 s) to 8 s; the fault is at 0 to 6 s."""
    rehearsal = rehearse()
    look(rehearsal, (NAME, "OrdersDown"))
    rows = [alert(1.0, "pending"), alert(2.0, "firing"), alert(8.0, "inactive")]
    told = [alert(at, "delivered", source="alertmanager", receiver="pager", starts_at="t") for at in (2.1, 3.1, 4.1)]
    for row in (*rows, *told, alert(8.2, "resolved", source="alertmanager", receiver="pager", starts_at="t")):
        rehearsal.add(row)
    return rehearsal


def judged(by_id: Any, rehearsal: Any, **asked: Any) -> dict[str, Any]:
    return by_id(Alerts.model_validate(asked), rehearsal.view())


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


# Never, and nothing else


def test_never(panics: Any, by_id: Any) -> None:
    """Held where the rule was evaluated until the end; violated by one life."""
    finding = judged(by_id, panics, name="OrdersDown", never=True)["alerts.OrdersDown.never"]
    assert (finding.outcome, finding.seen, finding.samples) == (HELD, "silent in 10 evaluations", 10)
    finding = judged(by_id, panics, name=NAME, never=True)[f"alerts.{NAME}.never"]
    assert (finding.outcome, finding.seen) == (VIOLATED, f"{NAME}{{service=orders, severity=P2}} fired 1 time")


def test_never_by_severity(panics: Any, by_id: Any) -> None:
    """Without a name any alert with these labels counts."""
    assert judged(by_id, panics, never=True, severity="P1")["alerts.never"].held
    assert judged(by_id, panics, never=True, severity="P2")["alerts.never"].outcome is VIOLATED
    assert judged(by_id, panics, never=True, labels={"service": "orders"})["alerts.never"].outcome is VIOLATED
    assert judged(by_id, panics, never=True)["alerts.never"].outcome is VIOLATED


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"names": ("Other",)}, "no rule named OrdersDown is evaluated"),
        ({"failing": {"OrdersDown": "boom"}}, "cannot be evaluated: boom"),
        ({"error": "refused"}, "could not be asked: refused"),
        ({"evaluated": {}}, "was evaluated 0 times while faults were active"),
        ({"end": 1.5}, "was evaluated 1 time while faults were active, 0 times after that"),
        ({"end": 5.0}, "0 times after that"),
    ],
)
def test_silence_that_proves_nothing(rehearse: Any, by_id: Any, rules: dict[str, Any], words: str) -> None:
    """An alert cannot have fired if nobody evaluated its rule during and after the fault."""
    rehearsal = rehearse()
    look(rehearsal, **{"names": ("OrdersDown",), **rules})
    finding = judged(by_id, rehearsal, name="OrdersDown", never=True)["alerts.OrdersDown.never"]
    assert finding.outcome is VACUOUS
    assert words in finding.seen


@pytest.mark.parametrize(
    ("query", "scraped", "missing"),
    [
        ("prices_degraded_total > 0", (), "prices_degraded_total"),
        ("prices_degraded_total > 0", ("process.memory", "price_degraded_total"), "prices_degraded_total"),
        ("prices_degraded_total > 0", ('prices_degraded_total{service="a"}',), ""),
        ('sum by (a) (rate({__name__="b_total", x="1"}[1m])) / sum(rate(a_total[1m]))', ("a_total",), "b_total"),
        ("max_over_time(rate(b_total[1m])[5m:1m]) + -topk(1, c)", ("d",), "b_total or c"),
        ("histogram_quantile(0.9, rate(h_bucket[1m])) > 1", ("h_count",), ""),
        ("histogram_quantile(0.9, rate(h_bucket[1m])) > 1", ("g_count",), "h_bucket"),
        ('up{job="orders"} == 0', ("a_total",), ""),
        ('up{job="orders"} == 0', ("process.memory",), "up"),
        ("scrape_samples_scraped < 1", ("a_total",), ""),
        ("absent(a_total) or absent_over_time(b_total[5m])", (), ""),
        ("a_total > 1 unless on () maintenance", ("a_total",), ""),
        ("a_total > 1 and ALERTS == 1 and job:rate5m > 1", ("a_total",), ""),
        ('{__name__=~"a_.*"} > 1', (), ""),
        ("vector(1)", (), ""),
        ("", (), ""),
        ("a newer (PromQL", (), ""),
    ],
)
@pytest.mark.parametrize("asked", [{"name": "PricesDegraded", "never": True}, {"nothing_else": True}])
def test_silence_of_a_rule_that_sees_nothing(
    rehearse: Any, by_id: Any, asked: dict[str, Any], query: str, scraped: tuple[str, ...], missing: str
) -> None:
    """A rule over a metric that no service ever gave could not fire; what cannot be parsed is not held against it."""
    rehearsal = rehearse()
    look(rehearsal, ("PricesDegraded",), scraped=scraped, queries={"PricesDegraded": query})
    (finding,) = judged(by_id, rehearsal, **asked).values()
    if not missing:
        assert (finding.outcome, finding.seen) == (HELD, "silent in 10 evaluations")
        return
    assert (finding.outcome, finding.seen) == (
        VACUOUS, f"silent, but no series {missing} was ever scraped: the rule PricesDegraded could not fire"
    )  # fmt: skip


def test_only_the_rules_behind_silence_must_see_something(rehearse: Any, by_id: Any) -> None:
    """Another rule does not matter to a name, nor does one that is ignored."""
    rehearsal = rehearse()
    look(rehearsal, ("OrdersDown", "Typo"), queries={"OrdersDown": QUERY, "Typo": "panic_total > 0"})
    assert judged(by_id, rehearsal, name="OrdersDown", never=True)["alerts.OrdersDown.never"].held
    assert judged(by_id, rehearsal, nothing_else=True, ignore=["Typo"])["alerts.nothing_else"].held
    assert judged(by_id, rehearsal, nothing_else=True)["alerts.nothing_else"].outcome is VACUOUS
    assert judged(by_id, rehearsal, never=True, severity="P1")["alerts.never"].outcome is VACUOUS


def test_silence_in_a_history_without_queries(rehearse: Any, by_id: Any) -> None:
    """One recorded without them is judged as before."""
    rehearsal = rehearse()
    look(rehearsal, scraped=(), queries={NAME: ""})
    assert judged(by_id, rehearsal, name=NAME, never=True)[f"alerts.{NAME}.never"].held


@pytest.mark.parametrize(
    ("scraped", "worst"),
    [((), "its rule selects no series: panics_total was never scraped"), (("panics_total",), "")],
)
def test_it_never_fired_because_it_saw_nothing(rehearse: Any, by_id: Any, scraped: tuple[str, ...], worst: str) -> None:
    """Still violated, with the reason."""
    rehearsal = rehearse()
    look(rehearsal, scraped=scraped)
    finding = judged(by_id, rehearsal, name=NAME)[f"alerts.{NAME}.fires"]
    assert (finding.outcome, finding.seen, finding.worst) == (VIOLATED, "never fired", worst)


def test_silence_without_rules(rehearse: Any, by_id: Any) -> None:
    """Of an application's alerts it means something once any notification came."""
    rehearsal = rehearse()
    asked = {"source": "application", "name": "PoolEmpty", "never": True}
    assert judged(by_id, rehearsal, **asked)["alerts.PoolEmpty.never"].outcome is VACUOUS
    rehearsal.add(alert(1.0, "delivered", "Other", source="application"))
    assert judged(by_id, rehearsal, **asked)["alerts.PoolEmpty.never"].outcome is HELD
    rehearsal.add(alert(1.0, "delivered", "PoolEmpty", source="application"))
    assert judged(by_id, rehearsal, **asked)["alerts.PoolEmpty.never"].outcome is VIOLATED


def test_nothing_else(panics: Any, by_id: Any) -> None:
    """Alerts that other entries name, and those to be ignored, are no noise."""
    named, quiet = Alerts.model_validate({"name": NAME}), Alerts.model_validate({"nothing_else": True})
    noise = by_id(quiet, panics.view())["alerts.nothing_else"]
    assert (noise.outcome, noise.seen) == (VIOLATED, f"{NAME}{{service=orders, severity=P2}} fired 1 time")
    quiet.beside([named])
    assert by_id(quiet, panics.view())["alerts.nothing_else"].held
    panics.add(alert(1.0, "firing", "Watchdog"))
    assert by_id(quiet, panics.view())["alerts.nothing_else"].outcome is VIOLATED
    asked = {"nothing_else": True, "ignore": ["Watchdog", NAME]}
    assert judged(by_id, panics, **asked)["alerts.nothing_else"].held


def test_an_application_by_itself(rehearse: Any, by_id: Any) -> None:
    """Without rules a notification is the firing, and its like within one life is none."""
    rehearsal = rehearse()
    for at, state in ((1.0, "delivered"), (2.0, "delivered"), (7.0, "resolved")):
        rehearsal.add(alert(at, state, "PoolEmpty", source="application"))
    found = judged(by_id, rehearsal, source="application", name="PoolEmpty", times=1, fires_within="1s",
                   resolves_within="1s", notifications=2)  # fmt: skip
    assert {finding.outcome for finding in found.values()} == {HELD}


def test_no_fault(rehearse: Any, by_id: Any) -> None:
    """Nothing can be said."""
    rehearsal = rehearse(fault=0.0)
    assert {finding.outcome for finding in judged(by_id, rehearsal, name=NAME).values()} == {VACUOUS}


# Runbooks


class Reader:
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
    reader = Reader(answer)
    for row in expectation.collect(reader, panics.view()):
        panics.add(row)
    assert reader.asked == ["http://127.0.0.1:1/panics"]
    finding = by_id(expectation, panics.view())[f"alerts.{NAME}.runbook"]
    assert (finding.outcome, finding.seen) == (outcome, words)
    assert len(panics.history.of(Read)) == 1


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
    assert list(expectation.collect(Reader(200), rehearsal.view())) == []
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


# Any history


STEPS = st.lists(
    st.tuples(st.floats(-4.0, 10.9), st.sampled_from(["pending", "firing", "inactive"]), st.sampled_from("ab")),
    max_size=12,
)
SENT = st.lists(
    st.tuples(
        st.floats(-4.0, 10.9), st.sampled_from(["delivered", "resolved"]), st.sampled_from("ab"),
        st.sampled_from(["", "t1", "t2"]), st.sampled_from(["", "503"]),
    ),
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(STEPS, SENT, st.randoms())
def test_any_history_has_a_verdict(rehearse: Any, steps: Any, sent: Any, random: Any) -> None:
    """No order of rows crashes the judge, the order of arrival changes nothing, and its figures agree."""
    rows = [alert(at, state, labels={"service": key}) for at, state, key in steps]
    rows += [
        alert(at, state, source="alertmanager", labels={"service": key}, starts_at=life, refused=refused)
        for at, state, key, life, refused in sent
    ]
    rows = list({row.at: row for row in rows}.values())  # two things at one moment have no order

    def verdict(given: list[Alert]) -> list[Any]:
        rehearsal = rehearse()
        look(rehearsal)
        for row in given:
            rehearsal.add(row)
        view: View = rehearsal.view()
        found = []
        for asked in (
            {"name": NAME, "fires_within": "5s", "resolves_within": "3s", "delivered_within": "6s", "times": 1,
             "notifications": "<= 3", "severity": "P2", "runbook": "present"},
            {"name": NAME, "never": True},
            {"nothing_else": True},
        ):  # fmt: skip
            expectation = Alerts.model_validate(asked)
            expectation.awaits(view, ORIGIN + 12.0)
            found += expectation.judge(view)
        return found

    found = verdict(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert verdict(shuffled) == found
    lives = incidents(rows)
    by = {finding.id: finding for finding in found}
    assert by[f"alerts.{NAME}.never"].held == by["alerts.nothing_else"].held == (not lives)
    assert by[f"alerts.{NAME}.times"].held == (len(lives) == 1)
    assert all(life.ended is None or life.ended >= life.fired >= life.active for life in lives)
    if by[f"alerts.{NAME}.fires_within"].held:
        assert any(ORIGIN <= life.fired <= ORIGIN + 5.0 for life in lives)
    if by[f"alerts.{NAME}.resolves_within"].held:
        assert all(life.ended is not None and life.ended <= ORIGIN + 9.0 for life in lives)
    if by[f"alerts.{NAME}.delivered_within"].held:
        assert any(row.state == "delivered" and not row.refused for row in rows)


@given(st.integers(1, 5), st.integers(1, 6))
def test_repetitions_are_no_incidents(lives: int, repeats: int) -> None:
    """However often each life is told, by Prometheus or by Alertmanager, there are as many as began."""
    rows, at = [], 0.0
    for life in range(lives):
        for _ in range(repeats):
            rows.append(alert(at := at + 0.1, "delivered", source="prometheus", starts_at=f"t{life}"))
        rows.append(alert(at := at + 0.1, "resolved", source="prometheus", starts_at=f"t{life}"))
    assert len(incidents(rows)) == lives
    assert all(incident.ended is not None for incident in incidents(rows))
