"""The engine on real servers: what it records, what it judges, and that judging again gives the same."""

from __future__ import annotations

import json
import os
import signal
import statistics

import pytest

from chaoskit.base.errors import InputError
from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.history.store import load
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios


@pytest.fixture
def session(tmp_path):
    """A session that is closed in the end."""
    session = Session(tmp_path / "reports", seed=7)
    yield session
    session.close()


def test_held_with_evidence_history_and_the_same_verdict_again(project, session):
    """One scenario, twice in the same environment: held, on time, written down, judged again alike."""
    (scenario,) = load_scenarios(project())
    first = session.run(scenario)
    assert first.verdict.outcome is Outcome.HELD, first.verdict.reason
    second = session.run(scenario)
    assert second.verdict.outcome is Outcome.HELD, second.verdict.reason

    (fault,) = second.history.rows(r.Fault)
    assert fault.touched > 0
    assert fault.injected - fault.planned_start < 0.25
    assert [phase.name for phase in second.history.rows(r.Phase)] == ["steady", "faults", "recovery"]
    assert {service.service for service in second.history.rows(r.Sample)} >= {"postgres", "redis", "stub"}
    delayed = [
        row.ended - row.intended
        for row in second.history.rows(r.Request)
        if fault.injected < row.intended < fault.planned_end
    ]
    assert statistics.median(delayed) >= 0.05

    assert len(load(second.folder).rows(r.Request)) == second.verdict.samples
    _, again, _ = rejudge(second.folder)
    assert again == second.verdict
    meta = json.loads((second.folder / "run.json").read_text())
    assert meta["seed"] == 7
    assert meta["broken"] is None


def test_values_deep_in_a_long_answer_are_judged(project, session, tmp_path):
    """A ledger's key and an expected value that stand behind 5,000 characters, of which the history keeps 2,048."""
    file = project()
    environment = tmp_path / "scenarios" / "environments" / "small.yaml"
    text = environment.read_text()
    assert "json: {answer: 42}" in text
    environment.write_text(text.replace("json: {answer: 42}", f"json: {{pad: {'x' * 5000}, answer: 42}}"))
    expected = """\
  responses: {of: ask, json: {answer: 42}}
  ledger: {writes: ask, key: {json: answer, shared: true}, read: {sql: select 42, on: postgres}}
"""
    file.write_text(file.read_text() + expected)
    (scenario,) = load_scenarios(file)
    result = session.run(scenario)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    _, again, _ = rejudge(result.folder)
    assert again == result.verdict
    file.write_text(file.read_text().replace("json: {answer: 42}}", "json: {other: 42}}"))
    _, other, _ = rejudge(result.folder, file)
    assert other.outcome is Outcome.VACUOUS, "what was not noted, and stands in none of what is kept, is not known"


def test_violated_and_judged_again_with_another_bound(project, session, tmp_path):
    """A bound that cannot be met is violated; the same history holds against a wider one."""
    (scenario,) = load_scenarios(project(delay="150ms", bound="< 20ms"))
    result = session.run(scenario)
    assert result.verdict.outcome is Outcome.VIOLATED
    (finding,) = [judged.finding for judged in result.verdict.failed()]
    assert finding.id == "during.ask.p90"
    assert finding.samples >= 10  # of 50, where others take of the machine

    wider = project(delay="150ms", bound="< 1s")
    _, verdict, _ = rejudge(result.folder, wider)
    assert verdict.outcome is Outcome.HELD, verdict.reason


def test_the_same_seed_sends_the_same_requests(project, session):
    """Ids are drawn from the seed: two runs of one scenario send the same ones."""
    (scenario,) = load_scenarios(project())
    ids = []
    for _ in range(2):
        requests = session.run(scenario).history.rows(r.Request)
        ids.append([row.id for row in sorted(requests, key=lambda row: row.seq)][:50])
    assert ids[0] == ids[1]


def test_a_traffic_worker_that_dies_breaks_one_scenario(project, session):
    """The next one has another, and so has the environment, whose faults send traffic too."""
    file = project()
    burst = "burst: {operation: ask, rate: 100/s}"
    file.write_text(file.read_text().replace("latency: {on: stub, delay: 50ms}", burst))
    (scenario,) = load_scenarios(file)

    def kill(progress):
        if progress.phase == "faults":
            os.kill(session._generator.pid, signal.SIGKILL)

    broken = session.run(scenario, on_progress=kill)
    assert broken.verdict.outcome is Outcome.BROKEN
    assert "the traffic worker has died" in broken.verdict.reason
    again = session.run(scenario)
    assert again.verdict.outcome is Outcome.HELD, again.verdict.reason


def test_nothing_runs_after_close(project, processes_of, tmp_path):
    """Servers, worker and proxy end with the session; the journal goes."""
    session = Session(tmp_path / "reports")
    (scenario,) = load_scenarios(project())
    session.run(scenario)
    assert len(processes_of(tmp_path)) > 1
    session.close()
    session.close()
    assert processes_of(tmp_path) == set()
    assert not list((tmp_path / "reports").rglob("*.journal"))


def test_one_environment_at_a_time(project, session):
    """A scenario of another environment ends the one that runs: idling beside it, it would disturb what is measured."""
    file = project()
    small = file.parent / "environments" / "small.yaml"
    other = small.with_name("other.yaml")
    other.write_text(small.read_text().replace("environment: small", "environment: other"))
    (scenario,) = load_scenarios(file)
    first, _ = session.open(scenario.environment)
    assert session.open(scenario.environment)[0] is first
    services = list(first.services.values())
    assert all(service.alive() for service in services)
    file.write_text(file.read_text().replace("environment: small", "environment: other"))
    (scenario,) = load_scenarios(file)
    second, _ = session.open(scenario.environment)
    assert all(service.alive() for service in second.services.values())
    assert not any(service.alive() for service in services)


def test_a_service_that_cannot_start_is_broken(project, session):
    """The verdict is broken, with the service's last words, and the next run of it does not try again."""
    file = project()
    environment = file.parent / "environments" / "small.yaml"
    environment.write_text(
        environment.read_text() + "  bad: {command: [sh, -c, 'echo out of cheese; exit 3'], ready: {tcp: true}}\n"
    )
    (scenario,) = load_scenarios(file)
    result = session.run(scenario)
    assert result.verdict.outcome is Outcome.BROKEN
    assert "out of cheese" in result.verdict.reason
    assert "exit status 3" in result.verdict.reason
    again = session.run(scenario)
    assert again.verdict.outcome is Outcome.BROKEN
    assert again.wall < 1


def test_a_production_environment_is_refused(project):
    """Marked production: the scenario is not even loaded."""
    file = project()
    environment = file.parent / "environments" / "small.yaml"
    environment.write_text("production: true\n" + environment.read_text())
    with pytest.raises(InputError, match=r"small.yaml:1: .*production"):
        load_scenarios(file)
