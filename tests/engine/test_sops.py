"""From an alert to a service that recovered because of an SOP, with real processes; and the control without it."""

from __future__ import annotations

import json
import urllib.request

import pytest
import sop_project

from chaoskit.engine.attempts import rehearse
from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.history.store import load
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios
from chaoskit.system.sweep import owner_line


@pytest.fixture
def session(tmp_path):
    """A session that is closed in the end."""
    session = Session(tmp_path / "reports", seed=7)
    yield session
    session.close()


def findings(result):
    """By id."""
    return {judged.finding.id: judged.finding for judged in result.verdict.findings}


def run_unhurried(session, scenario, **more):
    """The result of a run that the machine did not leave open."""
    return rehearse(session, scenario, attempts=4, **more)


def ask(service, path):
    """What a service answers."""
    with urllib.request.urlopen(service.url() + path, timeout=5) as answer:
        return json.loads(answer.read())


def test_recovered_because_of_the_sop_and_not_without_it(session, tmp_path):
    """A hanging service is restarted once, whatever the watchdog repeats; without SOPs it hangs until the cure."""
    (scenario,) = load_scenarios(sop_project.make(tmp_path))
    result = run_unhurried(session, scenario)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (run,) = [row for row in load(result.folder).rows(r.SopRun) if row.outcome != "skipped"]
    assert (run.sop, run.outcome, run.action_type, run.target_service) == ("restart-front", "done", "restart", "front")
    notifications = [row for row in result.history.rows(r.Alert) if row.state == "delivered"]
    assert run.queued == notifications[0].at
    assert (result.folder / run.report).exists()
    assert (result.folder / "sops" / "restart-front.yaml").exists()

    _, again, _ = rejudge(result.folder)
    assert again.outcome is Outcome.HELD, again.reason

    control = run_unhurried(session, scenario, control=True)
    assert control.control is not None
    # What comes late is the machine's doing while others take all of it. That none ran is plain in any case.
    assert control.control.outcome in ("caught", "inconclusive"), control.control.reason
    told = findings(control)
    assert told["recovery.because_of"].seen.startswith("no SOP ran")
    times = told["sop.restart.front.times"]
    assert times.seen.startswith("0")
    assert times.outcome is (Outcome.VIOLATED if control.control.caught else Outcome.INCONCLUSIVE)
    assert control.history.rows(r.SopRun) == []
    assert not (control.folder / "fault-reports").exists()


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

SWITCH = """\
sop: Switch the extra feature off
on: {alert: FrontDown}
times: 1
priority: critical
steps:
  - switch: {service: front, feature: extra}
  - scale: {service: front, env: {SIZE: large, BROKEN: "no"}}
"""

TURNS_BAD = """\
scenario: The front is mended by a switch and by more of everything
environment: watched
sops: [switch-front]
with: {front: {env: {BROKEN: "yes"}}}
traffic:
  get: {request: "GET {{ front.url }}/ok", rate: 20/s, timeout: 1s, ok: {status: 200}}
steady_state:
  get: {success_rate: ">= 95%"}
timeline:
  steady: 1s
  faults:
    - bad: {noop: {}, at: 0s, for: 3s}
  recovery: 5s
  after: 3s
expect:
  sop:
    - {sop: switch-front, within: 5s, times: 1, report: true}
"""


def test_what_an_sop_changes_ends_with_the_scenario(session, tmp_path):
    """A switched feature and scaled settings are seen while it lasts, and are gone in the next one."""
    file = sop_project.make(tmp_path)
    (file.parent / "sops" / "switch-front.yaml").write_text(SWITCH)
    file.write_text(TURNS_BAD)
    (scenario,) = load_scenarios(file)
    live, _ = session.open(scenario.environment)
    result = run_unhurried(session, scenario)
    (run,) = [row for row in result.history.rows(r.SopRun) if row.outcome != "skipped"]
    assert run.outcome == "done", run.detail
    assert [step["action"] for step in run.steps] == ["switch", "scale"]
    lines = [row.line for row in result.history.rows(r.Log) if row.service == "front"]
    assert any('"size": "large"' in line for line in lines)
    assert ask(live.service("front"), "/admin/features/extra") == {"enabled": True}  # put back when it had ended

    live.prepare(scenario.environment)
    assert ask(live.service("front"), "/ok") == {"size": "small"}
    assert "switch" not in {kind for kind, _ in session.journal.open_entries()}
    report = json.loads((result.folder / run.report).read_text())
    assert TRACE in report["trace_ids"]
    assert findings(result)["sop.switch-front.report"].held, findings(result)["sop.switch-front.report"].seen


def test_a_killed_run_s_sops_are_told_by_the_next(tmp_path):
    """What was queued by a run that is dead is told as swept, and is not in the next one's queue."""
    (tmp_path / "reports" / "runs" / "20300101-000000-1" / "hangs").mkdir(parents=True)
    queue = tmp_path / "reports" / "runs" / "20300101-000000-1" / "hangs" / "sops.queue"
    dead = {**owner_line(), "pid": 2**22 - 1, "start": 1}
    item = {"queued": 1, "sop": "restart-front", "alert": "FrontDown", "severity": "P1"}
    queue.write_text("".join(json.dumps(line) + "\n" for line in (dead, item)))
    session = Session(tmp_path / "reports")
    session.close()
    (told,) = [text for text in session.swept if "SOP" in text]
    assert told.startswith("SOP restart-front (P1 FrontDown) of run 20300101-000000-1: was queued")
    again = Session(tmp_path / "reports")
    again.close()
    assert not [text for text in again.swept if "SOP" in text]
