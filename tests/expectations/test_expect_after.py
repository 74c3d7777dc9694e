"""``after``: bounds in the quiet phase after recovery."""

from __future__ import annotations

from chaoskit.language.expectation import EXPECTATIONS, Outcome

After = EXPECTATIONS.get("after")
ASKED = After.model_validate({"place-order": {"success_rate": ">= 99%"}})


def test_held(rehearse, by_id):
    """Nothing that failed before the phase counts."""
    run = rehearse(after=3.0)
    run.traffic(lambda at: {"status": 500} if 0 <= at < 11 else {})
    finding = by_id(ASKED, run.view())["after.place-order.success_rate"]
    assert (finding.outcome, finding.samples) == (Outcome.HELD, 120)


def test_violated_by_one_stale_connection(rehearse, by_id):
    """Two late failures in 120 are too much for 99 %."""
    run = rehearse(after=3.0)
    run.traffic(lambda at: {"error": "closed"} if at in (12.0, 13.0) else {})
    finding = by_id(ASKED, run.view())["after.place-order.success_rate"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "98.33%")
    assert finding.worst == "worst second: 97.5% at +12.0 s, n=40"


def test_vacuous_without_the_phase(rehearse, by_id):
    """A timeline without the phase says how to get it."""
    run = rehearse()
    run.traffic()
    finding = by_id(ASKED, run.view())["after.place-order.success_rate"]
    assert finding.outcome is Outcome.VACUOUS
    assert "timeline: {after: 5s}" in finding.seen
