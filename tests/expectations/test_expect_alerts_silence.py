"""``alerts``: ``never`` and ``nothing_else`` need proof that the rules could have fired."""

from __future__ import annotations

from typing import Any

import pytest
from alert_rows import HELD, NAME, QUERY, VACUOUS, VIOLATED, Alerts, alert, judged, look


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
    quiet.siblings([named])
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
