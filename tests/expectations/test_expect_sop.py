"""``sop``, and ``recovery: {because_of: sop}`` both ways: what holds, what is violated, and what proves nothing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Sop = EXPECTATIONS.get("sop")
Recovery = EXPECTATIONS.get("recovery")
STEADY = {"place-order": {"success_rate": ">= 99%"}}
RESTART = {"action_type": "restart", "target_service": "orders"}


def sop_run(rehearsal, at, **more):
    """A run that was queued ``at``, began 0.1 s later and took 0.4 s."""
    start = rehearsal.origin + at
    fields = {
        "sop": "restart-orders", "alert": "OrdersPanics", "fingerprint": "f", "incident": "OrdersPanics-1",
        "severity": "P1", "action_type": "restart", "target_service": "orders", "priority": "high", "queued": start,
        "started": start + 0.1, "ended": start + 0.5, "outcome": "done", "attempts": 1,
        "payload": {"severity": "P1", "labels": {"team": "orders"}},
    }  # fmt: skip
    rehearsal.add(r.SopRun(**{**fields, **more}))


def delivered(rehearsal, at, **more):
    """A notification."""
    moment = rehearsal.origin + at
    rehearsal.add(r.Alert(name="A", state="delivered", at=moment, source="application", fingerprint="f", **more))


def outcomes(found):
    """Outcomes by id."""
    return {name: finding.outcome for name, finding in found.items()}


def test_one_run_as_it_should_be(rehearse, by_id):
    """Count, end, priority, payload and time are each a finding."""
    run = rehearse()
    sop_run(run, 1.0)
    asked = {
        **RESTART,
        "priority": "high",
        "within": "1s",
        "times": 1,
        "payload": {"severity": "P1", "labels.team": "orders"},
    }
    found = by_id(Sop.model_validate(asked), run.view())
    names = ("times", "done", "once_per_incident", "priority", "payload.severity", "payload.labels.team", "within")
    assert outcomes(found) == {f"sop.restart.orders.{name}": Outcome.HELD for name in names}
    assert found["sop.restart.orders.within"].seen == "after 500ms"


@pytest.mark.parametrize(
    ("asked", "change", "wrong"),
    [
        ({"times": 2}, {}, "times"),
        ({}, {"target_service": "payments"}, "times"),
        ({}, {"outcome": "skipped", "started": None, "detail": "cool-down"}, "times"),
        ({}, {"outcome": "failed", "detail": "not ready"}, "done"),
        ({}, {"outcome": "open", "ended": None}, "done"),
        ({"priority": "critical"}, {}, "priority"),
        ({"payload": {"severity": "P2"}}, {}, "payload.severity"),
        ({"payload": {"nope": 1}}, {}, "payload.nope"),
        ({"payload": {"labels": {"paged": True}}}, {"payload": {"labels": {"paged": 1}}}, "payload.labels"),
        ({"within": "400ms"}, {}, "within"),
        ({"within": "10s"}, {"ended": None, "outcome": "open"}, "within"),
    ],
)
def test_each_way_to_be_wrong(rehearse, by_id, asked, change, wrong):
    """The finding that is about it is violated."""
    run = rehearse()
    sop_run(run, 1.0, **change)
    found = by_id(Sop.model_validate({**RESTART, **asked}), run.view())
    assert found[f"sop.restart.orders.{wrong}"].outcome is Outcome.VIOLATED


def test_twice_for_one_incident_is_violated_and_for_two_is_not(rehearse, by_id):
    """One run for each incident."""
    for incident, expected in (("OrdersPanics-1", Outcome.VIOLATED), ("OrdersPanics-2", Outcome.HELD)):
        run = rehearse()
        sop_run(run, 1.0)
        sop_run(run, 2.0, incident=incident)
        found = by_id(Sop.model_validate({**RESTART, "times": 2}), run.view())
        assert found["sop.restart.orders.once_per_incident"].outcome is expected
        assert found["sop.restart.orders.times"].outcome is Outcome.HELD


def test_why_none_ran_is_told(rehearse, by_id):
    """What was decided against it stands in the finding."""
    run = rehearse()
    sop_run(run, 1.0, outcome="skipped", started=None, ended=None, detail="severity P4 is below P2")
    finding = by_id(Sop.model_validate(RESTART), run.view())["sop.restart.orders.times"]
    assert finding.worst == "restart-orders: severity P4 is below P2"


def test_never(rehearse, by_id):
    """Held when an alert came and nothing ran, violated by a run, and vacuous when no alert came at all."""
    run = rehearse()
    never = Sop.model_validate({"never": True})
    assert outcomes(by_id(never, run.view())) == {"sop.never": Outcome.VACUOUS}
    delivered(run, 1.0, refused="status 500")
    assert outcomes(by_id(never, run.view())) == {"sop.never": Outcome.VACUOUS}
    delivered(run, 1.2)
    sop_run(run, 1.2, outcome="skipped", started=None, ended=None)
    assert outcomes(by_id(never, run.view())) == {"sop.never": Outcome.HELD}
    sop_run(run, 2.0)
    assert outcomes(by_id(never, run.view())) == {"sop.never": Outcome.VIOLATED}
    assert (
        outcomes(by_id(Sop.model_validate({"never": True, "alert": "Other"}), run.view()))["sop.Other.never"]
        is Outcome.HELD
    )


def test_never_with_something_else_is_refused():
    """It asks for nothing and for something."""
    with pytest.raises(ValidationError, match="what never runs has no within"):
        Sop.model_validate({"never": True, "within": "1s"})


def because(rehearsal, by_id, within="3s"):
    """The finding on because_of."""
    model = Recovery.model_validate({"within": within, "because_of": "sop"})
    return by_id(model, rehearsal.view(STEADY))["recovery.because_of"]


def ill(start, end):
    """Answers are 500 from ``start`` to ``end``."""
    return lambda at: {"status": 500} if start <= at < end else {}


def test_recovered_because_of_the_sop(rehearse, by_id):
    """Ill from the fault on, an SOP at 2.1 s, well at 2.5 s, while the fault lasts until 6 s."""
    run = rehearse()
    run.traffic(ill(0, 2.5))
    sop_run(run, 2.0)
    finding = because(run, by_id)
    assert finding.outcome is Outcome.HELD, finding.seen
    assert "400ms after restart-orders (+2.1 s) had started" in finding.seen


@pytest.mark.parametrize(
    ("answers", "sop", "why"),
    [
        pytest.param(ill(0, 2.5), None, "no SOP ran", id="none"),
        pytest.param(ill(0, 1), {"at": 2.5}, "steady state held already", id="recovered before"),
        pytest.param(ill(9, 9), {"at": 2.5}, "steady state held already", id="never ill"),
        pytest.param(ill(0, 6), {"at": 2.0}, "only 3.9s after", id="only when lifted"),
        pytest.param(ill(0, 5.5), {"at": 2.0}, "only 3.4s after", id="not long enough before it was lifted"),
        pytest.param(ill(0, 99), {"at": 2.0}, "not at all", id="never"),
        pytest.param(
            lambda at: {"status": 500} if 0 <= at < 2.5 or 3.8 <= at < 6 else {}, {"at": 2.0}, "not for long", id="lost"
        ),
        pytest.param(ill(0, 7), {"at": 6.5}, "no fault was active", id="after the fault"),
        pytest.param(ill(0, 2.5), {"at": 2.0, "outcome": "failed", "detail": "no"}, "was not done", id="failed"),
        pytest.param(ill(0, 2.5), {"at": 2.0, "started": None, "outcome": "skipped"}, "no SOP ran", id="skipped"),
    ],
)  # fmt: skip
def test_recovered_for_another_reason_is_violated(rehearse, by_id, answers, sop, why):
    """And the finding says for which."""
    run = rehearse()
    run.traffic(answers)
    if sop is not None:
        sop_run(run, **sop)
    finding = because(run, by_id)
    assert finding.outcome is Outcome.VIOLATED
    assert why in finding.seen


def test_recovered_because_of_the_sop_but_late(rehearse, by_id):
    """Within counts from the SOP's start."""
    run = rehearse()
    run.traffic(ill(0, 4))
    sop_run(run, 1.0)
    assert because(run, by_id, "3s").outcome is Outcome.HELD
    assert because(run, by_id, "2s").outcome is Outcome.VIOLATED


def test_another_fault_that_is_lifted_meanwhile_takes_the_credit(rehearse, by_id):
    """The first fault that was active when the SOP began is what counts."""
    run = rehearse()
    run.fault(0.0, 3.0)
    run.traffic(ill(0, 3.2))
    sop_run(run, 2.0)
    assert because(run, by_id).outcome is Outcome.VIOLATED


def test_without_because_of_nothing_is_asked_of_sops(rehearse, by_id):
    """The expectation as it was."""
    run = rehearse()
    run.traffic(ill(0, 6))
    found = by_id(Recovery.model_validate({"within": "3s"}), run.view(STEADY))
    assert outcomes(found) == {"recovery": Outcome.HELD}
