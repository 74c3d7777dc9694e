"""``during``: bounds while a fault is active."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaoskit.language.expectation import EXPECTATIONS, Outcome

During = EXPECTATIONS.get("during")
ASKED = {"place-order": {"success_rate": ">= 99%", "p99": "< 250ms"}}


def test_held(rehearse, by_id):
    """A service that is not impressed holds every bound, on the requests of the fault only."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if at < 0 else {})
    findings = by_id(During.model_validate(ASKED), run.view())
    assert list(findings) == ["during.place-order.success_rate", "during.place-order.p99"]
    assert {finding.outcome for finding in findings.values()} == {Outcome.HELD}


def test_violated(rehearse, by_id):
    """A service that drops one in ten while the fault is active is caught by its success rate alone."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 6 and round(at * 40) % 10 == 0 else {})
    findings = by_id(During.model_validate(ASKED), run.view())
    assert findings["during.place-order.success_rate"].outcome is Outcome.VIOLATED
    assert findings["during.place-order.p99"].outcome is Outcome.HELD


def test_vacuous(rehearse, by_id):
    """Without a fault there is no time to judge."""
    run = rehearse(fault=0.0)
    run.traffic()
    findings = by_id(During.model_validate(ASKED), run.view())
    assert {(finding.outcome, finding.seen) for finding in findings.values()} == {
        (Outcome.VACUOUS, "no fault was active")
    }


def test_gaps_between_faults_do_not_count(rehearse, by_id):
    """Two faults make two windows; what happens between them is not during a fault."""
    run = rehearse(fault=2.0, recovery=8.0)
    run.fault(5.0, 7.0)
    run.traffic(lambda at: {"status": 500} if 2 <= at < 5 else {})
    finding = by_id(During.model_validate(ASKED), run.view())["during.place-order.success_rate"]
    assert (finding.outcome, finding.samples) == (Outcome.HELD, 160)


def test_an_unknown_operation_is_refused():
    """Keys are operations of the scenario's traffic."""
    with pytest.raises(ValidationError) as caught:
        During.model_validate({"place-ordr": {"p99": "< 1s"}}, context={"operations": {"place-order"}})
    assert caught.value.errors()[0]["ctx"]["legal"] == ["place-order"]
