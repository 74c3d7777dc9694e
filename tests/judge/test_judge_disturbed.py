"""The same verdict on a busy machine: rows made by hand, so that nothing here depends on the machine.

Others' load with a good service is held or inconclusive, with a broken one violated or inconclusive and never held; our
own load and a quiet machine are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_judge import TEXT, ZERO, fault, history, schedule

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.judge.disturbed import excused
from chaoskit.judge.judging import LAG, judge
from chaoskit.judge.verdict import Verdict, judge_control
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.loader import load
from chaoskit.language.scenario import Scenario
from chaoskit.language.view import View

Answer = Callable[[float], tuple[float, bool]]

QUIET: dict[str, Any] = {"late": 0.0002, "own": 0.4, "foreign": 0.05, "waited": 0.01, "busiest": 0.3}
OWN: dict[str, Any] = {"late": 0.02, "own": 1.9, "foreign": 0.1, "waited": 3.0, "busiest": 1.0}
MILD: dict[str, Any] = {**QUIET, "late": 0.006, "foreign": 1.5, "waited": 0.8}
FLOOD: dict[str, Any] = {**MILD, "busiest": 0.95}
KINDS = {"quiet": QUIET, "own": OWN, "mild": MILD, "flood": FLOOD}


def scenario(folder: Path, text: str = TEXT) -> Scenario:
    """The scenario that the histories belong to, or one with other bounds."""
    file = folder / "made-up.chaos.yaml"
    file.write_text(text, encoding="utf-8")
    (found,) = load(file)
    return found


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """That of the tests of the judge."""
    return scenario(tmp_path_factory.mktemp("disturbed"))


def with_machine(made: History, kind: dict[str, Any], start: float = -3.0, end: float = 6.0) -> History:
    """The machine was quiet, and from ``start`` to ``end`` (seconds after the fault began) as ``kind`` says."""
    at = -3.0
    while at < 6.0:
        fields = kind if start <= at < end else QUIET
        made.add(r.Host(at=ZERO + at + 0.25, seconds=0.25, cores=2, **fields))
        at += 0.25
    return made


def seen(verdict: Verdict, id_: str) -> str:
    """What a finding says."""
    (found,) = [judged.finding.seen for judged in verdict.findings if judged.finding.id == id_]
    return found


def late(start: float, end: float, latency: float = 1.0, ok: bool = True) -> Answer:
    """Slow, or failing, from ``start`` to ``end``."""
    return lambda at: (latency, ok) if start <= at < end else (0.01, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_service_is_held(usual: Scenario, kind: str) -> None:
    """Whatever the machine is like: what is met although others take of it is met."""
    assert judge(usual, with_machine(history(), KINDS[kind])).outcome is Outcome.HELD


@pytest.mark.parametrize("kind", ["quiet", "own"])
@pytest.mark.parametrize("answer", [late(0, 2), late(0, 2, 0.01, ok=False)])
def test_a_broken_service_is_violated_on_a_machine_of_its_own(usual: Scenario, kind: str, answer: Answer) -> None:
    """Quiet, or saturated by nobody but the service itself."""
    assert judge(usual, with_machine(history(answer), KINDS[kind])).outcome is Outcome.VIOLATED


def test_what_the_machine_may_have_done_is_inconclusive(usual: Scenario) -> None:
    """Slow while others took so much that work queued up; the finding says who, what and when."""
    verdict = judge(usual, with_machine(history(late(0, 2)), FLOOD, -0.25, 2.0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "the machine could have done this: during.ask.p95: expected < 500ms, seen 1s" in verdict.reason
    assert "while others took 1.5 of 2 processors from -0.2 s to +2.0 s" in seen(verdict, "during.ask.p95")


def test_a_slowdown_that_is_bounded_explains_no_more_than_itself(usual: Scenario) -> None:
    """0.8 threads that wait are 16 ms for each of 50 requests a second: that explains 0.6 s where 0.5 s are allowed,
    and not 0.7 s; nor an answer that is an error."""
    assert judge(usual, with_machine(history(late(0, 2, 0.6)), MILD)).outcome is Outcome.INCONCLUSIVE
    assert judge(usual, with_machine(history(late(0, 2, 0.7)), MILD)).outcome is Outcome.VIOLATED
    assert judge(usual, with_machine(history(late(0, 2, 0.01, ok=False)), MILD)).outcome is Outcome.VIOLATED


def test_a_slowdown_explains_no_more_than_its_share(usual: Scenario) -> None:
    """However long our threads waited: what ran a tenth longer was at most a tenth shorter without."""
    little = {**MILD, "own": 8.0}
    assert judge(usual, with_machine(history(late(0, 2, 0.53)), little)).outcome is Outcome.INCONCLUSIVE
    assert judge(usual, with_machine(history(late(0, 2, 0.6)), little)).outcome is Outcome.VIOLATED


def test_what_is_violated_in_calm_time_is_violated(usual: Scenario) -> None:
    """Others came for the last half second only; what lay before stands by itself."""
    assert judge(usual, with_machine(history(late(0, 2)), FLOOD, 1.5, 2.0)).outcome is Outcome.VIOLATED


def test_figures_are_those_of_calm_time(usual: Scenario) -> None:
    """What was slow in disturbed time only is left out where enough is left: held, on fewer samples."""
    verdict = judge(usual, with_machine(history(late(0.5, 0.75)), FLOOD, 0.5, 0.75))
    assert verdict.outcome is Outcome.HELD
    (found,) = [judged.finding for judged in verdict.findings if judged.finding.id == "during.ask.p95"]
    assert 20 <= found.samples < 100


@pytest.mark.parametrize(("start", "outcome"), [(0.75, Outcome.HELD), (1.2, Outcome.INCONCLUSIVE)])
def test_a_part_of_the_window_is_not_the_whole(usual: Scenario, start: float, outcome: Outcome) -> None:
    """4 of 100 requests are slow, which is allowed. That they are more of those in calm time, all at the fault's begin,
    violates nothing: a service that needs a moment, such as a breaker that opens, is the same on a busy machine."""
    assert judge(usual, history(late(0.0, 0.08, 0.6))).outcome is Outcome.HELD
    assert judge(usual, with_machine(history(late(0.0, 0.08, 0.6)), FLOOD, start, 2.0)).outcome is outcome


def test_what_no_machine_explains_is_not_left_out(usual: Scenario) -> None:
    """An error is none of a slowness that is bounded: a service that fails at the fault's begin is not held for the
    rest of it, which was calm."""
    made = with_machine(history(late(0.0, 0.5, 0.01, ok=False)), MILD, 0.0, 0.25)
    assert judge(usual, made).outcome is Outcome.VIOLATED


def failing(*parts: tuple[float, float, float]) -> Answer:
    """Good answers take 8 ms, one of ten 50 ms; failures come from and to these seconds, after so many."""

    def answer(at: float) -> tuple[float, bool]:
        failed = [latency for start, end, latency in parts if start <= at < end]
        return (failed[0], False) if failed else (0.05 if round(at * 50) % 10 == 0 else 0.008, True)

    return answer


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ([(0.0, 0.5, 0.004)], Outcome.VIOLATED),  # as soon as ever: nothing slow was in their way
        ([(0.0, 0.5, 0.02)], Outcome.INCONCLUSIVE),  # slower than usual, but good answers come as late
        ([(0.0, 0.5, 0.25)], Outcome.HELD),  # a time limit
        ([(0.0, 0.1, 0.15), (0.25, 0.5, 0.004)], Outcome.INCONCLUSIVE),  # a breaker that time limits have opened
        ([(0.0, 0.25, 0.004), (0.4, 0.5, 0.15)], Outcome.VIOLATED),  # no breaker knows what comes
    ],
)
def test_the_benefit_of_the_doubt_makes_no_pass(
    usual: Scenario, parts: list[tuple[float, float, float]], outcome: Outcome
) -> None:
    """Others came for the fault's begin, in which a quarter fails; the calm rest is good. What slowness itself brings
    is left out; failures that it may have brought leave it open; those that it cannot have brought count."""
    made = history(failing(*parts))
    assert judge(usual, made).outcome is Outcome.VIOLATED
    assert judge(usual, with_machine(history(failing(*parts)), FLOOD, 0.0, 0.25)).outcome is outcome


def test_a_call_that_was_given_up_may_have_opened_a_breaker(usual: Scenario) -> None:
    """Also where the operation itself did not wait for it: what then fails at once is left open, and not before."""
    for ended, end, outcome in (
        (0.01, "closed", Outcome.INCONCLUSIVE),
        (0.01, "complete", Outcome.VIOLATED),
        (0.5, "closed", Outcome.VIOLATED),
    ):
        made = with_machine(history(failing((0.02, 0.5, 0.004))), FLOOD, 0.0, 0.25)
        made.add(
            r.Exchange(
                proxy="api.dep", conn=1, method="GET", path="/", id="", started=ZERO, sent=ZERO, answered=None,
                ended=ZERO + ended, status=None, end=end,
            )
        )  # fmt: skip
        assert judge(usual, made).outcome is outcome


def test_fallbacks_that_come_at_once_are_none_of_slowness(tmp_path: Path) -> None:
    """As failures: where few are allowed, those at the fault's begin count."""
    text = TEXT.replace('p95: "< 500ms"}', 'fallback_rate: "<= 10%"}')
    for latency, outcome in ((0.004, Outcome.VIOLATED), (0.02, Outcome.INCONCLUSIVE), (0.25, Outcome.HELD)):
        made = with_machine(history(failing((0.0, 0.5, latency))), FLOOD, 0.0, 0.25)
        rows = [msgspec.structs.replace(row, ok=True, fallback=not row.ok) for row in made.rows(r.Request)]
        made._rows[r.Request][:] = rows
        assert judge(scenario(tmp_path, text), made).outcome is outcome, latency


def test_calm_time_at_the_end_of_a_fault_decides_nothing(tmp_path: Path) -> None:
    """Its last requests are answered when it is over already: without a fallback, as all are that it meets no more."""
    text = TEXT.replace('p95: "< 500ms"}', 'fallback_rate: ">= 50%"}')
    made = with_machine(history(), FLOOD, -0.25, 1.2)
    rows = [msgspec.structs.replace(row, fallback=0.0 <= row.intended - ZERO < 1.7) for row in made.rows(r.Request)]
    made._rows[r.Request][:] = rows
    verdict = judge(scenario(tmp_path, text), made)
    assert verdict.outcome is Outcome.HELD, verdict.reason


def test_slow_requests_are_not_left_out_for_having_met_it(usual: Scenario) -> None:
    """All that is slow was sent in calm time and ended in disturbed time: no reason to call the rest held."""
    made = with_machine(history(late(0.0, 0.4, 1.0)), FLOOD, 0.5, 2.0)
    verdict = judge(usual, made)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_lower_limit_that_the_machine_helped_to_meet_is_inconclusive(tmp_path: Path) -> None:
    """A median above the fault's delay proves the fault, unless the machine was as slow by itself."""
    text = TEXT.replace('p95: "< 500ms"}', 'p50: ">= 200ms"}')
    slow = history(late(0, 2, 0.3))
    assert judge(scenario(tmp_path, text), with_machine(slow, QUIET)).outcome is Outcome.HELD
    slow = history(late(0, 2, 0.3))
    assert judge(scenario(tmp_path, text), with_machine(slow, FLOOD)).outcome is Outcome.INCONCLUSIVE
    assert judge(scenario(tmp_path, text), with_machine(history(), FLOOD)).outcome is Outcome.VIOLATED


def test_a_steady_state_that_was_disturbed(usual: Scenario) -> None:
    """Not vacuous: it is not the service that has to be mended first."""
    verdict = judge(usual, with_machine(history(late(-2, 0)), FLOOD, -3.0, 0.0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason.startswith("the machine was disturbed before the first fault: steady_state.ask.p95")


def test_recovery_that_others_kept_up(usual: Scenario) -> None:
    """Inconclusive while nothing bounds it; a service that does not come back although it could is violated."""
    never = late(2, 9, 3.0)
    assert judge(usual, with_machine(history(never), FLOOD, 2.0)).outcome is Outcome.INCONCLUSIVE
    assert judge(usual, with_machine(history(never), MILD, 2.0)).outcome is Outcome.VIOLATED


def test_a_service_that_ended_has_no_excuse(usual: Scenario) -> None:
    """No process ends because others took the machine."""
    made = with_machine(history(), FLOOD)
    made.add(r.Event(service="stub", at=ZERO + 1, what="exited", pid=7, code=1))
    assert judge(usual, made).outcome is Outcome.VIOLATED


@pytest.mark.parametrize(
    ("flood", "latency", "outcome"),
    [
        ((1.0, 1.25), 2.0, Outcome.VIOLATED),  # it had 1.25 s to itself, where answers take 10 ms
        ((0.0, 2.0), 2.0, Outcome.INCONCLUSIVE),
        ((1.0, 1.25), 1.0, Outcome.INCONCLUSIVE),  # half of its time was shared
    ],
)
def test_a_hang_is_no_slowness(usual: Scenario, flood: tuple[float, float], latency: float, outcome: Outcome) -> None:
    """Half of all requests get no answer. That others took the machine for a part of their time explains it only where
    the rest was shorter than answers take, or than what they took."""
    made = history(late(0.5 if latency < 2 else 0, 1, latency, ok=False))
    assert judge(usual, with_machine(made, FLOOD, *flood)).outcome is outcome


def test_what_is_violated_whatever_the_machine_was_like_is_violated(tmp_path: Path) -> None:
    """The judge asks again: half of all answers are no 200 in calm time, and all of what others met."""
    text = TEXT.replace("  noop:", "  responses: {of: ask, status: 200}\n  noop:")
    text = text.replace('success_rate: ">= 90%", ', "")
    for start, outcome in ((0.5, Outcome.VIOLATED), (-0.25, Outcome.INCONCLUSIVE)):
        made = history(late(0, 2, 0.01, ok=False))
        assert judge(scenario(tmp_path, text), with_machine(made, FLOOD, start, 2.0)).outcome is outcome


@pytest.mark.parametrize(
    ("id_", "explained"),
    [
        ("alerts.Down.fires_within", True),
        ("alerts.Down.labels.team", False),
        ("alerts.severity.times", True),  # an alert of that name
        ("sop.restart.payload.alert", False),
        ("sop.restart.times", True),
    ],
)
def test_chains_of_events(usual: Scenario, id_: str, explained: bool) -> None:
    """When an alert fires, and a run begins, any disturbed time explains; what they say none."""
    view = View(with_machine(history(), MILD), {}, usual.model.steady_state, 1.0)
    (finding,) = excused([Finding(id_, Outcome.VIOLATED, "= 0", "1", 100)], view, lambda _: ())
    assert finding.outcome is (Outcome.INCONCLUSIVE if explained else Outcome.VIOLATED)


@pytest.mark.parametrize("id_", ["sop.restart.times", "recovery.because_of"])
@pytest.mark.parametrize("sops", [True, False])
def test_what_was_switched_off_did_not_come_late(usual: Scenario, id_: str, sops: bool) -> None:
    """In a control without SOPs none runs, on any machine."""
    view = View(with_machine(history(), MILD), {}, usual.model.steady_state, 1.0, sops=sops)
    (finding,) = excused([Finding(id_, Outcome.VIOLATED, "= 1", "0", 100)], view, lambda _: ())
    assert finding.outcome is (Outcome.INCONCLUSIVE if sops else Outcome.VIOLATED)


def test_a_fault_without_evidence(usual: Scenario) -> None:
    """Vacuous; inconclusive where the service was not let come to it."""
    nothing = (fault(touched=0),)
    assert judge(usual, with_machine(history(faults=nothing), MILD)).outcome is Outcome.VACUOUS
    assert judge(usual, with_machine(history(faults=nothing), FLOOD)).outcome is Outcome.INCONCLUSIVE
    assert judge(usual, with_machine(history(faults=nothing), FLOOD, 1.0, 1.25)).outcome is Outcome.VACUOUS


@pytest.mark.parametrize("more", [{"lag_p99": 0.3}, {"sent": 300}])
def test_a_generator_that_fell_behind(usual: Scenario, more: dict[str, Any]) -> None:
    """Broken by itself, inconclusive where others took of the machine."""
    behind = (schedule(**more),)
    assert judge(usual, with_machine(history(schedules=behind), QUIET)).outcome is Outcome.BROKEN
    verdict = judge(usual, with_machine(history(schedules=behind), MILD))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "while others took 1.5 of 2 processors" in verdict.reason


@pytest.mark.parametrize(("late", "outcome"), [(0.2, Outcome.HELD), (0.35, Outcome.HELD), (0.5, Outcome.INCONCLUSIVE)])
def test_a_fault_that_began_late(usual: Scenario, late: float, outcome: Outcome) -> None:
    """A shorter fault than planned was another one: by more than a fifth it says nothing, and is tried again."""
    began = (fault(started=ZERO + late, injected=ZERO + late),)
    quiet = judge(usual, with_machine(history(faults=began), QUIET))
    assert quiet.outcome is (Outcome.HELD if outcome is Outcome.HELD else Outcome.BROKEN)
    verdict = judge(usual, with_machine(history(faults=began), MILD))
    assert verdict.outcome is outcome
    if outcome is not Outcome.HELD:
        assert quiet.reason.startswith(LAG)
        assert "the engine was held up: fault slow began 500ms late, of 2s, while others took" in verdict.reason


@pytest.mark.parametrize(("taken", "outcome"), [(0.9, Outcome.HELD), (1.1, Outcome.BROKEN), (2.0, Outcome.BROKEN)])
def test_a_fault_that_was_in_place_late(usual: Scenario, taken: float, outcome: Outcome) -> None:
    """Injecting may take a while; what did not act for half of its window proves nothing of such a window."""
    slow = judge(usual, with_machine(history(faults=(fault(injected=ZERO + taken),)), QUIET))
    assert slow.outcome is outcome
    if outcome is Outcome.BROKEN:
        assert slow.reason.startswith(LAG)
        assert "fault slow was in place" in slow.reason
        assert "late, of 2s" in slow.reason


def test_a_control_that_was_disturbed_is_neither_caught_nor_not(usual: Scenario) -> None:
    """It is inconclusive; what is violated in calm time is caught, whoever came later."""
    names = ["during.ask"]
    disturbed = judge_control(judge(usual, with_machine(history(late(0, 2)), FLOOD)), names)
    assert (disturbed.outcome, disturbed.caught) == ("inconclusive", False)
    assert judge_control(judge(usual, with_machine(history(late(0, 2)), QUIET)), names).caught
    assert judge_control(judge(usual, with_machine(history(), FLOOD)), names).outcome == "not caught"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["mild", "flood"]),
    start=st.integers(-12, 20),
    length=st.integers(0, 36),
    latency=st.sampled_from([0.01, 0.3, 0.6, 1.0, 3.0]),
    ok=st.booleans(),
    since=st.floats(-2.0, 3.0),
    lasts=st.floats(0.0, 3.0),
)
def test_a_machine_never_turns_a_violation_into_a_pass(
    usual: Scenario, kind: str, start: int, length: int, latency: float, ok: bool, since: float, lasts: float
) -> None:
    """Where calm time and disturbed time are alike, what is not held without others is not held with them; and nothing
    becomes violated by their coming."""
    answer = late(since, since + lasts, latency, ok)
    alone = judge(usual, with_machine(history(answer), QUIET)).outcome
    beside = with_machine(history(answer), KINDS[kind], start / 4, (start + length) / 4)
    verdict = judge(usual, beside)
    left = [judged.finding for judged in verdict.findings if judged.finding.id == "during.ask.p95"]
    if alone is Outcome.HELD:
        # Fewer samples may weigh a few slow requests more; that is judged, and told with its samples.
        assert verdict.outcome in (Outcome.HELD, Outcome.INCONCLUSIVE) or any(each.samples < 100 for each in left)
    if verdict.outcome is Outcome.HELD and alone is not Outcome.HELD:
        slow = [row for row in beside.rows(r.Request) if row.ended - row.intended > 0.4 or not row.ok]
        assert any(ZERO + start / 4 <= row.intended < ZERO + (start + length) / 4 + 0.5 for row in slow)
