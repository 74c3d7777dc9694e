"""What follows from a steady state that was not met, and what does not: it stands by itself, as a cause of its own."""

from __future__ import annotations

import pytest

from chaoskit.judge.consequences import following
from chaoskit.judge.verdict import Judged
from chaoskit.language.expectation import Finding, Outcome

VIOLATED, VACUOUS, BROKEN = Outcome.VIOLATED, Outcome.VACUOUS, Outcome.BROKEN
CAUSE = "steady_state.GET /v1.0/orders.p95"


def found(id: str, outcome: Outcome = VIOLATED, seen: str = "seen", because: str = "") -> Judged:
    """A finding in few words."""
    return Judged(Finding(id, outcome, "expected", seen, 1, because=because), 1)


@pytest.mark.parametrize(
    ("finding", "because"),
    [
        (found("during.GET /v1.0/orders.p99"), CAUSE),
        (found("after.GET /v1.0/orders.success_rate"), CAUSE),
        (found("during.GET /v1.0/orders.fallback_rate", VACUOUS), CAUSE),
        (found("during.GET /v1.0/orders.p99", VACUOUS), ""),
        (found("during.GET /v1.0/orders.requests"), ""),
        (found("during.list.p99"), ""),
        (found("during.GET /v1.0/orders.p99", Outcome.HELD), ""),
        (found("recovery"), CAUSE),
        (found("recovery.because_of", because="sop"), "sop"),
        (found("recovery", VACUOUS), ""),
        (found("fault.slow", VACUOUS), CAUSE),
        (found("ledger.GET /v1.0/orders.lost", VACUOUS), CAUSE),
        (found("ledger.GET /v1.0/orders.lost"), ""),
        (found("ledger.GET /v1.0/orders.lost", BROKEN), ""),
        (found("responses.GET /v1.0/orders.no_secret"), ""),
    ],
    ids=lambda value: f"{value.finding.outcome}-{value.finding.id}" if isinstance(value, Judged) else "",
)
def test_an_ill_service(finding: Judged, because: str) -> None:
    """Figures of the same operation follow; a lack of requests, lost data and a secret do not."""
    assert following([found(CAUSE), finding])[-1].finding.because == because


def test_too_few_samples_of_the_steady_state() -> None:
    """They do not say that the service was ill: nothing follows."""
    findings = [found(CAUSE, VACUOUS), found("during.GET /v1.0/orders.p99"), found("recovery")]
    assert following(findings) == findings


def test_data_that_could_not_be_read() -> None:
    """Told once for each reason; a finding that is not broken may say the same."""
    findings = [
        found("ledger.a.lost", BROKEN, "refused"),
        found("ledger.b.lost", BROKEN, "refused"),
        found("ledger.c.lost", BROKEN, "no such table"),
        found("logs.a.count", VIOLATED, "refused"),
    ]
    assert [judged.finding.because for judged in following(findings)] == ["", "ledger.a.lost", "", ""]
