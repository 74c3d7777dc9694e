"""Judging is a pure function with an order of precedence, and nothing that went wrong looks like a pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.expectations.during import During
from chaoskit.expectations.noop import Noop
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.store import load as load_history
from chaoskit.judge.judging import died_of, judge, judge_python, view_of
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.fault import FAULTS
from chaoskit.language.loader import load
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.scenario import Scenario

TEXT = """\
scenario: Made up
environment: {services: {stub: {provider: noop}}}
traffic:
  ask: {request: "GET {{ stub.url }}/", rate: 50/s}
steady_state:
  ask: {success_rate: ">= 98%", p95: "< 200ms"}
timeline:
  steady: 2s
  faults:
    - slow: {noop: {}, at: 0s, for: 2s}
  recovery: 3s
expect:
  during:
    ask: {success_rate: ">= 90%", p95: "< 500ms"}
  noop: {note: nothing}
"""
THOUSANDS = {"ask": {"success_rate": ">= 90%", "p999": "< 500ms"}}
"""Bounds of which one needs more requests than there are."""

ZERO = 1000.0
"""When the fault begins: after 2 s of steady phase."""


@pytest.mark.parametrize(
    ("kind", "given", "code", "explains"),
    [
        ("exit", {"at": "a/b", "status": 3}, 3, True),
        ("exit", {"at": "a/b", "status": 3}, 4, False),
        ("exit", {"at": "a/b", "status": 3}, None, True),
        ("abort", {"at": "a/b"}, None, True),
        ("pause", {}, None, False),
    ],
)
def test_which_fault_may_have_ended_its_target(
    kind: str, given: dict[str, Any], code: int | None, explains: bool
) -> None:
    """One that ends it so; any that ends it where the status is not known, as a shell in between keeps it."""
    fault = FAULTS.get(kind).model_validate({"service": "stub", **given})
    row = r.Fault(
        name="f", kind=kind, target="stub", planned_start=1, planned_end=2, started=1, injected=1, ended=2, touched=1,
        unit="hits",
    )  # fmt: skip
    end = r.Event(service="stub", at=1.5, what="exited", pid=7, code=code)
    assert died_of([("f", fault)])(row, end) == explains
    assert not died_of([("f", fault)])(row, msgspec.structs.replace(end, service="other"))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The scenario that all histories here belong to."""
    file = tmp_path_factory.mktemp("judge") / "made-up.chaos.yaml"
    file.write_text(TEXT, encoding="utf-8")
    (scenario,) = load(file)
    return scenario


def request(at: float, seq: int, latency: float, ok: bool = True) -> r.Request:
    """One request, ``at`` seconds after the fault began."""
    return r.Request(
        op="ask", seq=seq, stream="base:ask", intended=ZERO + at, sent=ZERO + at, ended=ZERO + at + latency,
        status=200 if ok else 500, error=None, ok=ok, fallback=False, id=str(seq),
    )  # fmt: skip


def fault(**other: Any) -> r.Fault:
    """The scenario's fault: from 0 to 2 s, having touched something."""
    fields: dict[str, Any] = {
        "name": "slow", "kind": "noop", "target": "stub", "planned_start": ZERO, "planned_end": ZERO + 2,
        "started": ZERO, "injected": ZERO, "ended": ZERO + 2, "touched": 3, "unit": "connections",
    }  # fmt: skip
    return r.Fault(**{**fields, **other})


def schedule(**other: Any) -> r.Schedule:
    """What a generator on time says."""
    fields = {"at": ZERO + 5, "planned": 350, "sent": 350, "lag_p50": 0.0, "lag_p99": 0.001, "lag_max": 0.002}
    return r.Schedule(**{**fields, **other})


def fast(_at: float) -> tuple[float, bool]:
    """Every request answers well in 10 ms."""
    return 0.01, True


def history(
    answer: Callable[[float], tuple[float, bool]] = fast,
    *,
    faults: tuple[r.Fault, ...] = (fault(),),
    schedules: tuple[r.Schedule, ...] = (schedule(),),
    folder: Path | None = None,
) -> History:
    """Seven seconds of traffic at 50/s; ``answer`` gives latency and success of the request due at a moment."""
    made = History(folder)
    for name, start, end in (("steady", -2, 0), ("faults", 0, 2), ("recovery", 2, 5)):
        made.add(r.Phase(name=name, started=ZERO + start, ended=ZERO + end))
    for seq in range(350):
        at = -2 + seq / 50
        made.add(request(at, seq, *answer(at)))
    for row in (*faults, *schedules):
        made.add(row)
    return made


def slow_during(at: float) -> tuple[float, bool]:
    """A second per answer while the fault is active."""
    return (1.0, True) if 0 <= at < 2 else (0.01, True)


def slow_always(_at: float) -> tuple[float, bool]:
    """Too slow even without a fault."""
    return 1.0, True


def test_held(scenario: Scenario) -> None:
    """Everything met, on enough samples: every finding has held and points to its line."""
    verdict = judge(scenario, history())
    assert verdict.outcome is Outcome.HELD
    assert {judged.finding.id: judged.line for judged in verdict.findings} == {
        "steady_state.ask.success_rate": 6,
        "steady_state.ask.p95": 6,
        "during.ask.success_rate": 14,
        "during.ask.p95": 14,
        "noop": 15,
        "recovery": 11,
        "fault.slow": 10,
    }
    assert all(judged.finding.held for judged in verdict.findings)
    assert verdict.recovery == pytest.approx(0, abs=0.05)
    assert verdict.samples == 350


def test_violated(scenario: Scenario) -> None:
    """A bound that was not met: violated, and the finding tells what was expected and seen."""
    verdict = judge(scenario, history(slow_during))
    assert verdict.outcome is Outcome.VIOLATED
    assert verdict.violated() == ["during.ask.p95"]
    (failed,) = verdict.failed()
    assert (failed.finding.expected, failed.finding.seen, failed.finding.samples) == ("< 500ms", "1s", 100)
    assert verdict.reason == "during.ask.p95: expected < 500ms, seen 1s"


def test_recovery_by_an_sop(scenario: Scenario) -> None:
    """Counted from the start of the fault, which was still there: after its end the service was well at once."""
    mend = r.SopRun(
        sop="mend", alert="Slow", fingerprint="f", incident="Slow-1", severity="P1", action_type="restart",
        target_service="stub", priority="high", queued=ZERO + 0.4, started=ZERO + 0.5, ended=ZERO + 0.6, outcome="done",
    )  # fmt: skip
    made = history(lambda at: (0.01, not 0 <= at < 0.7))
    verdict = judge(scenario, made)
    assert (verdict.recovery, verdict.sop_recovery) == (pytest.approx(0, abs=0.05), None)
    made.add(mend)
    verdict = judge(scenario, made)
    assert verdict.recovery == pytest.approx(0, abs=0.05)
    assert verdict.sop_recovery == verdict.as_dict()["sop_recovery"] == pytest.approx(0.7, abs=0.05)


def test_recovery_from_a_fault_that_was_one_moment(scenario: Scenario) -> None:
    """A kill: the way back counts from its strike, and does not hide in what is left of its window."""
    down = history(lambda at: (0.01, not 0 <= at < 1.5), faults=(fault(over=ZERO + 0.1),))
    assert judge(scenario, down).recovery == pytest.approx(1.4, abs=0.1)
    assert judge(scenario, history(lambda at: (0.01, not 0 <= at < 1.5))).recovery == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("touched", "outcome"), [(2, Outcome.VACUOUS), (3, Outcome.HELD)])
def test_a_fault_that_did_less_than_asked(scenario: Scenario, touched: int, outcome: Outcome) -> None:
    """Two strikes of three are another rehearsal than the one that was asked for."""
    verdict = judge(scenario, history(faults=(fault(touched=touched, needed=3, unit="exits"),)))
    assert verdict.outcome is outcome
    (found,) = [one.finding for one in verdict.findings if one.finding.id == "fault.slow"]
    assert (found.expected, found.seen) == ("the fault acts on 3 exits", f"{touched} exits")


def test_recovery_is_judged_unasked(scenario: Scenario) -> None:
    """A scenario without a recovery expectation is violated when steady state does not come back."""
    verdict = judge(scenario, history(lambda at: (0.01, at < 2)))
    assert verdict.violated() == ["recovery"]
    assert verdict.recovery is None


def test_broken_when_somebody_else_answered(scenario: Scenario) -> None:
    """Figures of another process say nothing about the service, however good they are."""
    made = history()
    made.add(r.Event(service="stub", at=ZERO + 1, what=r.TAKEN, detail="port 80 is held by pid 7 (nginx)"))
    verdict = judge(scenario, made)
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.reason == (
        "stub was not what answered: port 80 is held by pid 7 (nginx), which is no process of this service"
    )


EXITED = r.Event(service="stub", at=ZERO + 4.5, what="exited", pid=7, code=1)
"""After recovery, when nothing acts on it."""


def test_violated_when_a_service_ended_by_itself(scenario: Scenario) -> None:
    """However good all other figures are; before a steady state that never held, and whenever it was."""
    for made in (history(), history(slow_always)):
        made.add(EXITED)
        verdict = judge(scenario, made)
        assert verdict.outcome is Outcome.VIOLATED
        assert verdict.failed()[0].finding.id == "services.stub.ends"
        assert verdict.reason.startswith("services.stub.ends: expected does not end by itself")
        assert "it ended (exit status 1) at +4.5 s and did not come back" in verdict.reason


def test_an_end_that_the_environment_allows(scenario: Scenario) -> None:
    """A job may end: nothing is found."""
    services = {"stub": scenario.environment.services["stub"].model_copy(update={"ends": "allowed"})}
    environment = dataclasses.replace(scenario.environment, services=services)
    made = history()
    made.add(EXITED)
    assert judge(dataclasses.replace(scenario, environment=environment), made).outcome is Outcome.HELD


def test_a_fault_that_failed_because_its_service_had_ended(scenario: Scenario) -> None:
    """It is not chaoskit that failed; before the service's end it is."""
    for at, outcome in ((-0.5, Outcome.VIOLATED), (2.5, Outcome.BROKEN)):
        made = history(faults=(fault(error="stub has ended"),))
        made.add(msgspec.structs.replace(EXITED, at=ZERO + at))
        verdict = judge(scenario, made)
        assert verdict.outcome is outcome
        assert verdict.violated()[0] == "services.stub.ends", "told where the run broke, too"


def test_vacuous_without_evidence(scenario: Scenario) -> None:
    """A fault that touched nothing proves nothing, however good the figures are."""
    verdict = judge(scenario, history(faults=(fault(touched=0),)))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.reason == (
        "the rehearsal proves nothing: fault.slow: expected the fault acts on connections, seen 0 connections"
    )


def test_vacuous_with_too_few_samples(scenario: Scenario) -> None:
    """A percentile of nothing is not a pass."""
    made = History()
    for row in (*history().rows(r.Phase), fault(), schedule()):
        made.add(row)
    verdict = judge(scenario, made)
    assert verdict.outcome is Outcome.VACUOUS
    assert "no samples; 50 are needed" in verdict.reason


def test_vacuous_without_steady_state(scenario: Scenario) -> None:
    """Where steady state never held, violations under the fault are not the fault's."""
    verdict = judge(scenario, history(slow_always))
    assert "during.ask.p95" in verdict.violated()
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.reason.startswith("the steady state never held, so the faults prove nothing: steady_state.ask.p95")


def test_too_few_samples_do_not_say_that_the_service_was_ill(scenario: Scenario) -> None:
    """99 of 100 needed for the steady state: a violation that had enough stands; without one, nothing is proved."""
    model = scenario.model.model_copy(
        update={"steady_state": {"ask": OperationBounds.model_validate({"success_rate": ">= 99%"})}}
    )
    few = dataclasses.replace(scenario, model=model)
    # The last request before the fault is still under way when it strikes.
    verdict = judge(few, history(lambda at: (1.0 if 0 <= at < 2 else 0.03, True)))
    assert verdict.outcome is Outcome.VIOLATED
    assert verdict.reason.startswith("during.ask.p95")
    (last,) = [judged for judged in verdict.failed() if judged.finding.id.startswith("steady_state")]
    assert (last.finding.outcome, last.finding.samples) == (Outcome.VACUOUS, 99)
    quiet = judge(few, history(lambda _: (0.03, True)))
    assert quiet.outcome is Outcome.VACUOUS
    assert quiet.reason.startswith("the rehearsal proves nothing: steady_state.ask.success_rate")


def test_a_service_that_is_slow_all_along_is_ill_however_few_samples_are_left(scenario: Scenario) -> None:
    """What hangs when the fault strikes is left out: what is left is too few for p99, and says enough."""
    model = scenario.model.model_copy(
        update={"steady_state": {"ask": OperationBounds.model_validate({"p99": "< 200ms"})}}
    )
    verdict = judge(dataclasses.replace(scenario, model=model), history(slow_always))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.reason.startswith("the steady state never held")


def test_a_python_test_is_judged_alike(scenario: Scenario) -> None:
    """By the same order: lag, an ill steady state, what is violated, a fault without evidence."""

    def outcome(made: History, expected: str = ">= 90%") -> Outcome:
        view = view_of(scenario, made)
        bounds = During.model_validate({"ask": {"success_rate": expected}})
        return judge_python(view, list(bounds.judge(view))).outcome

    assert outcome(history()) is Outcome.HELD
    assert outcome(history(schedules=(schedule(lag_p99=0.2),))) is Outcome.BROKEN
    assert outcome(history(slow_always), "<= 1%") is Outcome.VACUOUS
    assert outcome(history(lambda at: (0.01, at < 0), faults=(fault(touched=0),))) is Outcome.VIOLATED
    assert outcome(history(faults=(fault(touched=0),))) is Outcome.VACUOUS
    assert outcome(history(), ">= 99.9%") is Outcome.VACUOUS
    assert outcome(history(faults=())) is Outcome.VACUOUS


def test_what_an_ill_service_did_follows_from_it(scenario: Scenario) -> None:
    """Where steady state never held, the same trouble later is told under it, but judged and counted as before."""
    verdict = judge(scenario, history(slow_always, faults=(fault(touched=0),)))
    cause = "steady_state.ask.p95"
    assert {judged.finding.id: judged.finding.because for judged in verdict.failed()} == {
        cause: "",
        "during.ask.p95": cause,
        "recovery": cause,
        "fault.slow": cause,
    }
    assert verdict.violated() == [cause, "during.ask.p95", "recovery"]
    assert verdict.reason.endswith(f"{cause}: expected < 200ms, seen 1s")


def test_what_a_fault_without_evidence_did_not_bring_about_follows_from_it(scenario: Scenario) -> None:
    """Who asks for errors, and for a slow median, sees none where the fault matched nothing: that is named."""
    asked = During.model_validate({"ask": {"success_rate": "<= 10%", "p50": ">= 1s", "p95": "< 500ms"}})
    model = dataclasses.replace(scenario.expectations[0], expectation=asked)
    missing = dataclasses.replace(scenario, expectations=[model, scenario.expectations[1]])
    verdict = judge(missing, history(faults=(fault(touched=0),)))
    assert verdict.outcome is Outcome.VACUOUS
    assert verdict.reason.startswith("the rehearsal proves nothing: fault.slow: expected the fault acts on")
    assert [(judged.finding.id, judged.finding.because) for judged in verdict.failed()] == [
        ("fault.slow", ""),
        ("during.ask.success_rate", "fault.slow"),
        ("during.ask.p50", "fault.slow"),
    ]
    # With evidence the same is the service's.
    assert judge(missing, history()).outcome is Outcome.VIOLATED
    # What is not as it was before is so, too.
    both = judge(missing, history(slow_during, faults=(fault(touched=0),)))
    assert both.violated() == ["during.ask.p95"]


def test_a_fault_without_evidence_before_too_few_samples(scenario: Scenario) -> None:
    """Without it nothing was rehearsed, however many samples there are: it is the one that is named."""
    model = dataclasses.replace(scenario.expectations[0], expectation=During.model_validate(THOUSANDS))
    asked = dataclasses.replace(scenario, expectations=[model, scenario.expectations[1]])
    verdict = judge(asked, history(faults=(fault(touched=0),)))
    assert [judged.finding.id for judged in verdict.failed()] == ["fault.slow", "during.ask.p999"]
    assert verdict.reason == (
        "the rehearsal proves nothing: fault.slow: expected the fault acts on connections, seen 0 connections "
        "(and 1 more)"
    )


def test_what_is_asked_for_before_what_is_not(scenario: Scenario) -> None:
    """The recovery is judged unasked, by a line further up: what the scenario expects is named before it."""
    verdict = judge(scenario, history(lambda at: (0.01, at < 0)))
    assert [judged.finding.id for judged in verdict.failed()] == ["during.ask.success_rate", "recovery"]
    assert verdict.reason == "during.ask.success_rate: expected >= 90%, seen 0% (and 1 more)"


def test_violated_before_vacuous(scenario: Scenario) -> None:
    """A violation stands, even where a fault has no evidence."""
    verdict = judge(scenario, history(slow_during, faults=(fault(touched=0),)))
    assert verdict.outcome is Outcome.VIOLATED
    assert [judged.finding.outcome for judged in verdict.failed()] == [Outcome.VIOLATED, Outcome.VACUOUS]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"schedules": (schedule(lag_p99=0.2),)},
            "the traffic generator fell behind its schedule: p99 200ms",
        ),
        ({"schedules": (schedule(sent=349),)}, "the traffic generator sent 349 of 350 planned requests"),
        ({"schedules": ()}, "the run did not come to its end"),
        ({"faults": (fault(error="no such container"),)}, "fault slow: no such container"),
        ({"faults": ()}, "fault slow was never injected"),
    ],
    ids=["late", "short", "cut", "fault", "no-fault"],
)
@pytest.mark.parametrize("answer", [fast, slow_during, slow_always])
def test_broken_before_everything(
    scenario: Scenario, given: dict[str, Any], says: str, answer: Callable[[float], tuple[float, bool]]
) -> None:
    """Where chaoskit itself failed, no figure counts: neither for nor against the service."""
    verdict = judge(scenario, history(answer, **given))
    assert verdict.outcome is Outcome.BROKEN
    assert says in verdict.reason


def test_what_broke_the_run_is_the_reason(scenario: Scenario) -> None:
    """What the engine says went wrong comes before what the history shows."""
    verdict = judge(scenario, history(), broken="orders ended before it was ready")
    assert (verdict.outcome, verdict.reason) == (Outcome.BROKEN, "orders ended before it was ready")


class Crashes(Noop):
    """An expectation with a mistake in it."""

    def judge(self, view: Any) -> Any:
        """Fail after a first finding."""
        yield Finding("crashes", Outcome.HELD, "anything", "anything", 1)
        raise ZeroDivisionError("division by zero")


class Silent(Noop):
    """An expectation that finds nothing to say."""

    def judge(self, view: Any) -> Any:
        """Say nothing."""
        return iter(())


class Broken(Noop):
    """An expectation whose data could not be read."""

    def judge(self, view: Any) -> Any:
        """Say so."""
        yield Finding("ledger", Outcome.BROKEN, "0 lost", "connection refused", 0)


class Unread(Noop):
    """An expectation of two figures in data that could not be read, of which ``note`` is asked for."""

    kept: int = 0

    def judge(self, view: Any) -> Any:
        """Both for the same reason, in the words of a database."""
        error = 'not judged: db: relation "charge" does not exist\nLINE 1: select key from charge\n              ^'
        for name in ("kept", "note"):
            yield Finding(f"noop.{name}", Outcome.BROKEN, "0", error, 0, (name,))


def with_expectation(scenario: Scenario, expectation: Noop) -> Scenario:
    """The scenario with its ``noop`` replaced."""
    first, second = scenario.expectations
    return dataclasses.replace(scenario, expectations=[first, dataclasses.replace(second, expectation=expectation)])


@pytest.mark.parametrize("answer", [fast, slow_during, slow_always])
def test_a_crash_while_judging_is_never_a_pass(
    scenario: Scenario, answer: Callable[[float], tuple[float, bool]]
) -> None:
    """An expectation that raises has said nothing: broken."""
    verdict = judge(with_expectation(scenario, Crashes()), history(answer))
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.reason.startswith("judging failed: expectation noop: ZeroDivisionError: division by zero (")
    assert "test_judge.py:" in verdict.reason


def test_an_expectation_that_finds_nothing_is_vacuous(scenario: Scenario) -> None:
    """No finding at all is not a pass either."""
    verdict = judge(with_expectation(scenario, Silent()), history())
    assert verdict.outcome is Outcome.VACUOUS
    assert "noop" in verdict.reason


@pytest.mark.parametrize("answer", [fast, slow_during, slow_always])
def test_a_broken_finding_breaks_the_verdict(scenario: Scenario, answer: Callable[[float], tuple[float, bool]]) -> None:
    """Data that could not be read back comes before violations and a lost steady state."""
    verdict = judge(with_expectation(scenario, Broken()), history(answer))
    assert (verdict.outcome, verdict.failed()[0].finding.id) == (Outcome.BROKEN, "ledger")


def test_an_error_in_lines_is_told_once_and_in_one_line(scenario: Scenario) -> None:
    """The figure that is asked for stands for the other; the rest of the error, but its caret, is in the rows."""
    verdict = judge(with_expectation(scenario, Unread(note="x")), history())
    seen = 'not judged: db: relation "charge" does not exist'
    assert verdict.reason == f"noop.note: expected 0, seen {seen}"
    told = [(judged.finding.id, judged.finding.because) for judged in verdict.failed()]
    assert told == [("noop.note", ""), ("noop.kept", "noop.note")]
    assert {(judged.finding.seen, judged.finding.rows) for judged in verdict.failed()} == {
        (seen, ("LINE 1: select key from charge",))
    }


ANSWERS = st.lists(
    st.tuples(st.floats(0.0, 3.0).map(lambda latency: round(latency, 6)), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(
    span=st.floats(0.1, 0.95) | st.floats(1.1, 1.9),
    struck=st.booleans(),
    ended=st.sampled_from([0.01, 0.3, 3.0]),
    ok=st.booleans(),
)
def test_what_the_fault_strikes_under_way_is_not_the_steady_state(
    scenario: Scenario, span: float, struck: bool, ended: float, ok: bool
) -> None:
    """Requests of the last moments end badly. Those that the fault struck under way are left out, of the last second;
    those that ended before it, or were sent earlier, are the steady state's own trouble."""

    def answer(at: float) -> tuple[float, bool]:
        if not -span <= at < 0:
            return 0.01, True
        return (-at + ended, ok) if struck else (0.005, False)

    verdict = judge(scenario, history(answer))
    found = {judged.finding.id: judged.finding.outcome for judged in verdict.findings}
    met = struck and span < 1.0
    assert (found["steady_state.ask.success_rate"] is Outcome.HELD) is (met or (struck and ok)), found
    assert (found["steady_state.ask.p95"] is Outcome.HELD) is (met or not struck), found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=ANSWERS, touched=st.integers(0, 2), lag=st.sampled_from([0.001, 0.2]), ended=st.booleans())
def test_judging_is_pure(
    scenario: Scenario,
    tmp_path_factory: pytest.TempPathFactory,
    answers: list[tuple[float, bool]],
    touched: int,
    lag: float,
    ended: bool,
) -> None:
    """The same history gives the same verdict: judged twice, in another order of rows, and after a round trip."""
    folder = tmp_path_factory.mktemp("run")

    def answer(at: float) -> tuple[float, bool]:
        return answers[int((at + 2) * 7) % len(answers)]

    made = history(
        answer,
        faults=(fault(touched=touched),),
        schedules=(schedule(lag_p99=lag),) if ended else (),
        folder=folder,
    )
    first = judge(scenario, made)
    assert all(judged.finding.id in first.reason for judged in first.failed()[:1]), "the reason names the worst"
    made.close()
    assert judge(scenario, made) == first
    assert judge(scenario, load_history(folder)) == first
    backwards = History()
    for kind in r.KINDS.values():
        for row in reversed(made.rows(kind)):
            backwards.add(row)
    assert judge(scenario, backwards) == first
    held = all(judged.finding.held for judged in first.findings)
    assert (first.outcome is Outcome.HELD) is (held and lag < 0.1 and ended)
