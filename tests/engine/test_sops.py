"""From an alert to a service that recovered because of an SOP, with real processes; and the control without it."""

from __future__ import annotations

import json
import urllib.request

import pytest
import sop_project

from chaoskit.engine.session import Session, rejudge
from chaoskit.expectations.base import Outcome
from chaoskit.history import rows as r
from chaoskit.history.store import load
from chaoskit.scenario.loader import load as load_scenarios


@pytest.fixture
def session(tmp_path):
    """A session that is closed in the end."""
    session = Session(tmp_path / "reports", seed=7)
    yield session
    session.close()


def findings(result):
    return {judged.finding.id: judged.finding for judged in result.verdict.findings}


def test_recovered_because_of_the_sop_and_not_without_it(session, tmp_path):
    """A hanging service is restarted once, whatever the watchdog repeats; without SOPs it hangs until the cure."""
    (scenario,) = load_scenarios(sop_project.make(tmp_path))
    result = session.run(scenario)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (run,) = [row for row in load(result.folder).of(r.SopRun) if row.outcome != "skipped"]
    assert (run.sop, run.outcome, run.action_type, run.target_service) == ("restart-front", "done", "restart", "front")
    notifications = [row for row in result.history.of(r.Alert) if row.state == "delivered"]
    assert run.queued == notifications[0].at
    assert (result.folder / run.report).exists()
    assert (result.folder / "sops" / "restart-front.yaml").exists()

    _, again, _ = rejudge(result.folder)
    assert again.outcome is Outcome.HELD, again.reason

    control = session.run(scenario, control=True)
    assert control.control is not None
    assert control.control.caught, control.control.reason
    assert findings(control)["recovery.because_of"].seen == "no SOP ran"
    assert control.history.of(r.SopRun) == []
    assert not (control.folder / "fault-reports").exists()
