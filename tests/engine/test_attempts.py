"""What the machine left open is run again. Real rehearsals; what the machine was like is put into their history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaoskit.base.clock import now
from chaoskit.engine.attempts import await_calm, rehearse
from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Session
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.judging import judge
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load
from chaoskit.report import summary
from chaoskit.report.runs import read_run
from chaoskit.report.terminal import table

TEXT = """\
scenario: Made up
environment: {services: {stub: {provider: http_stub, args: {routes: [{path: /ok, json: {answer: 42}}]}}}}
traffic:
  ask: {request: "GET {{ stub.url }}/ok", rate: 50/s}
steady_state:
  ask: {success_rate: ">= 50%"}
timeline:
  steady: 1s
  faults:
    - slow: {latency: {on: stub, delay: 20ms}, at: 0s, for: 1s}
  recovery: 5s
expect:
  during:
    ask: {success_rate: ">= 50%"}
"""


def punctual(history: History) -> None:
    """Take out of a history that this machine was late with requests and faults."""
    for kind, fields in (
        (r.Schedule, lambda row: {"sent": row.planned, "lag_p50": 0.0, "lag_p99": 0.0, "lag_max": 0.0}),
        (r.Fault, lambda row: {"planned_start": row.started}),
    ):
        history._rows[kind] = [msgspec.structs.replace(row, **fields(row)) for row in history.rows(kind)]


class Busy(Session):
    """A session on a machine that others load in its first ``disturbed`` rehearsals, so that traffic is late; calm
    after that, whatever this machine is like."""

    disturbed = 0
    rehearsed = 0

    def _rehearse(self, scenario: Any, history: History, *given: Any, **named: Any) -> str | None:
        broken = super()._rehearse(scenario, history, *given, **named)
        self.rehearsed += 1
        history._rows[r.Host].clear()
        punctual(history)
        if self.rehearsed <= self.disturbed:
            (last,) = history.rows(r.Schedule)
            history.add(
                r.Host(at=last.at, seconds=0.25, cores=2, late=0.01, own=0.4, foreign=1.4, waited=2.0, busiest=0.95)
            )
            history.add(r.Schedule(at=last.at, planned=9, sent=9, lag_p50=0.3, lag_p99=0.3, lag_max=0.3))
        return broken


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Callable[[int], Busy]]:
    """Makes such a session."""
    sessions: list[Busy] = []

    def make(disturbed: int) -> Busy:
        session = Busy(tmp_path / "reports", seed=7)
        session.disturbed = disturbed
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def scenario(tmp_path: Path) -> Any:
    """A scenario that holds on any machine."""
    file = tmp_path / "made-up.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (found,) = load(file)
    return found


def test_it_is_run_again_until_it_is_settled(busy: Callable[[int], Busy], scenario: Any) -> None:
    """Held at the second attempt: one scenario, which tells the first and keeps it."""
    waited: list[str] = []
    session = busy(1)
    result = rehearse(session, scenario, wait=waited.append, meta={"nodeid": "made-up.chaos.yaml::made-up"})
    assert (result.verdict.outcome, result.attempts, waited) == (Outcome.HELD, 2, [session.id])
    assert result.verdict.reason.startswith("held at the 2nd attempt: ")
    assert "the 1st was inconclusive: others took 1.4 of 2 processors from " in result.verdict.reason
    assert result.folder == session.folder / "made-up"
    first = json.loads((result.folder / "attempt-1" / "verdict.json").read_text(encoding="utf-8"))
    assert first["outcome"] == "inconclusive"
    (recorded,) = read_run(session.folder)
    assert (recorded.outcome, recorded.attempts, recorded.reason) == ("held", 2, result.verdict.reason)
    _, again, _ = rejudge(result.folder)
    assert again.reason == result.verdict.reason
    told = {**summary.of(result), "nodeid": "made-up.chaos.yaml::made-up", "reproduce": ""}
    assert any("at attempt 2" in line for line in table([told], session.folder, (), width=200))


def test_at_most_so_often(busy: Callable[[int], Busy], scenario: Any) -> None:
    """What stays open is inconclusive, and all attempts are there."""
    session = busy(9)
    result = rehearse(session, scenario, attempts=2, wait=lambda _: None)
    assert (result.verdict.outcome, result.attempts, session.rehearsed) == (Outcome.INCONCLUSIVE, 2, 2)
    assert "inconclusive at the 2nd attempt" in result.verdict.reason
    assert [folder.name for folder in sorted(result.folder.glob("attempt-*"))] == ["attempt-1"]
    assert not list(session.folder.glob(".*")), "nothing is left aside"


@pytest.mark.parametrize("text", ['">= 50%"', '"<= 10%"'])
def test_what_is_settled_is_run_once(busy: Callable[[int], Busy], tmp_path: Path, text: str) -> None:
    """Held, and violated in calm time: at once."""
    file = tmp_path / "once.chaos.yaml"
    steady, during = TEXT.split("expect:")
    bound = '">= 50%"'
    file.write_text(f"{steady}expect:{during.replace(bound, text)}", encoding="utf-8")
    (found,) = load(file)
    session = busy(0)
    result = rehearse(session, found, wait=lambda _: pytest.fail("nothing to wait for"))
    assert result.verdict.outcome is (Outcome.HELD if "50" in text else Outcome.VIOLATED)
    assert session.rehearsed == 1
    assert judge(found, result.history).reason == result.verdict.reason


class Flooded(Session):
    """A session on a machine that others take so much of that work queues up, all the time."""

    def _rehearse(self, scenario: Any, history: History, *given: Any, **named: Any) -> str | None:
        for index in range(200):
            at = now() + index / 4
            history.add(r.Host(at=at, seconds=0.25, cores=2, late=0.06, own=0.4, foreign=1.4, waited=2.0, busiest=0.95))
        broken = super()._rehearse(scenario, history, *given, **named)
        punctual(history)
        return broken


@pytest.mark.parametrize(("bound", "times"), [("< 10us", 2.0), ("< 20s", 1.0)])
def test_the_steady_phase_is_lengthened_while_the_machine_is_why(tmp_path: Path, bound: str, times: float) -> None:
    """To twice its length at most, and only where steady state is not met; the fault is as long as it should be."""
    file = tmp_path / "longer.chaos.yaml"
    steady, rest = TEXT.split("timeline:")
    file.write_text(
        f"{steady.replace('success_rate: ' + chr(34) + '>= 50%', 'p95: ' + chr(34) + bound)}timeline:{rest}",
        encoding="utf-8",
    )
    (found,) = load(file)
    with closing(Flooded(tmp_path / "reports", seed=7)) as session:
        result = session.run(found)
    phases = {row.name: row.ended - row.started for row in result.history.rows(r.Phase)}
    assert phases["steady"] == pytest.approx(times * 1.0, abs=0.05)
    assert phases["faults"] == pytest.approx(1.0, abs=0.7)
    assert result.verdict.outcome is (Outcome.INCONCLUSIVE if times > 1 else Outcome.HELD), result.verdict.reason


@pytest.mark.parametrize(("bound", "times"), [("< 10us", 2.0), ("< 20s", 1.0)])
def test_the_quiet_phase_is_lengthened_while_the_machine_is_why(tmp_path: Path, bound: str, times: float) -> None:
    """What must hold after recovery gets its time again, once."""
    file = tmp_path / "longer.chaos.yaml"
    text = TEXT.replace("  recovery: 5s", "  recovery: 5s\n  after: 1s")
    file.write_text(f'{text}  after: {{ask: {{p95: "{bound}"}}}}\n', encoding="utf-8")
    (found,) = load(file)
    with closing(Flooded(tmp_path / "reports", seed=7)) as session:
        result = session.run(found)
    phases = {row.name: row.ended - row.started for row in result.history.rows(r.Phase)}
    assert times <= phases["after"] < times + 0.7
    assert result.verdict.outcome is (Outcome.INCONCLUSIVE if times > 1 else Outcome.HELD), result.verdict.reason


class AtFirst(Flooded):
    """The same in the first attempt; a calm machine after that, whatever this one is like."""

    rehearsed = 0

    def _rehearse(self, scenario: Any, history: History, *given: Any, **named: Any) -> str | None:
        broken = super()._rehearse(scenario, history, *given, **named)
        self.rehearsed += 1
        if self.rehearsed > 1:
            history._rows[r.Host].clear()
        return broken


@pytest.mark.parametrize(("control", "attempts"), [(True, 2), (False, 1)])
def test_a_control_that_is_violated_elsewhere_is_run_again(tmp_path: Path, control: bool, attempts: int) -> None:
    """What it names was left open by the machine; what is violated elsewhere catches nothing. The scenario itself is
    settled by any violation."""
    file = tmp_path / "named.chaos.yaml"
    text = TEXT.replace("traffic:", "control: {with: {stub: {env: {A: b}}}, violates: [during.ask.p95]}\ntraffic:")
    text = text.replace('ask: {success_rate: ">= 50%"}\n', 'ask: {success_rate: ">= 50%", p95: "< 5ms"}\n')
    text = text.replace('{success_rate: ">= 50%", p95: "< 5ms"}', '{success_rate: ">= 50%"}', 1)
    file.write_text(f"{text}  responses: {{of: ask, body: no such answer}}\n", encoding="utf-8")
    (found,) = load(file)
    with closing(AtFirst(tmp_path / "reports", seed=7)) as session:
        result = rehearse(session, found, control=control, wait=lambda _: None)
    assert (result.attempts, result.verdict.outcome) == (attempts, Outcome.VIOLATED)
    first = json.loads((result.folder / ("attempt-1" if control else "") / "verdict.json").read_text(encoding="utf-8"))
    assert {each["id"]: each["outcome"] for each in first["findings"] if each["outcome"] != "held"} == {
        "during.ask.p95": "inconclusive", "responses.ask.body": "violated",
    }  # fmt: skip
    if control:
        assert result.control is not None
        assert result.control.outcome == "caught", result.control.reason


def test_waiting_for_calm_has_a_limit() -> None:
    """Whatever the machine is like it goes on."""
    assert await_calm("made-up", limit=0.0) is False
    assert await_calm("made-up", limit=4.0) in (True, False)
