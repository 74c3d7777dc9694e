"""``recovery``: when steady state holds again, for the engine that asks all the time and the judge that asks once."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.expectations._operations import measure
from chaoskit.expectations._steady import recovered_at
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.windows import Window
from chaoskit.language.expectation import EXPECTATIONS, Outcome
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.view import View

Recovery = EXPECTATIONS.get("recovery")
STEADY = {"place-order": {"success_rate": ">= 99.9%", "max": "< 250ms"}}


def found(run, steady=STEADY, **more):
    """Seconds after the fault's end at which steady state held again."""
    view = run.view(steady)
    moment = recovered_at(view, view.steady_state, view.last_fault_end, **more)
    return None if moment is None else round(moment - view.last_fault_end, 3)


def test_at_once(rehearse):
    """A service that was never unwell has recovered when the fault ends."""
    run = rehearse()
    run.traffic()
    assert found(run) == 0.0


def test_the_first_good_request_after_the_last_bad_one(rehearse):
    """Recovery begins with the request after the last failure."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 8 else {})
    assert found(run) == 2.0


def test_a_short_good_spell_is_no_recovery(rehearse):
    """Good for less than a window, then bad again: not recovered yet."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 6.5 or 7.4 <= at < 7.5 else {})
    assert found(run) == 1.5
    assert found(run, window=0.5) == 0.5


def test_slow_counts_as_unwell(rehearse):
    """Every bound of steady state must hold, not only the success rate."""
    run = rehearse()
    run.traffic(lambda at: {"latency": 0.4} if 0 <= at < 7 else {})
    assert found(run) == 1.0


def test_every_operation_must_hold(rehearse):
    """The slowest operation decides: its last failure was due at 8.4 s."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 7 else {})
    run.traffic(lambda at: {"status": 500} if 0 <= at < 8.5 else {}, op="list", rate=10.0)
    assert found(run, {**STEADY, "list": {"success_rate": ">= 99%"}}) == 2.425


def test_an_operation_needs_a_request_in_the_window(rehearse):
    """A rare operation is waited for; one without traffic of its own is not."""
    run = rehearse()
    run.traffic()
    run.traffic(op="report", rate=0.5, start=-4.3)
    run.request(1.0, op="only-bursts", stream="burst", status=500)
    steady = {**STEADY, "report": {"throughput": "<= 10/s"}, "only-bursts": {"success_rate": ">= 99%"}}
    assert found(run, steady) == 0.725, "the request of 7.7 s is in the window that begins after 6.7 s"


def test_never(rehearse):
    """A service that stays broken has not recovered."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if at >= 0 else {})
    assert found(run) is None


def test_until_limits_the_end_of_the_window(rehearse):
    """What would hold only later is not an answer."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 8 else {})
    assert found(run, until=run.origin + 9.0) == 2.0
    assert found(run, until=run.origin + 8.9) is None


def test_bursts_do_not_count(rehearse):
    """A burst that is refused after the fault is not the steady traffic."""
    run = rehearse()
    run.traffic()
    for seq in range(50):
        run.request(6.5, seq=seq, stream="burst", status=429)
    assert found(run) == 0.0


def test_a_request_in_flight_holds_the_answer_back(rehearse):
    """While one request of a window has not ended, the window is not judged, and neither is a later one."""
    run = rehearse()
    rows = run.traffic()
    missing = next(row for row in rows if row.intended >= run.origin + 6.1)
    view = run.view(STEADY)
    rest = [row for row in rows if row is not missing]
    since = view.last_fault_end
    assert recovered_at(rest, view.steady_state, since) is None
    assert recovered_at(rows, view.steady_state, since) == since


def test_a_request_of_before_the_fault_ended_holds_nothing_back(rehearse):
    """A request that is still hanging since the fault belongs to the fault."""
    run = rehearse()
    rows = run.traffic()
    view = run.view(STEADY)
    rest = [row for row in rows if row.seq != 300]
    assert rows[300].intended < view.last_fault_end
    assert recovered_at(rest, view.steady_state, view.last_fault_end) == view.last_fault_end


def test_all_copies_of_a_request_are_awaited(rehearse):
    """Copies end at different times; a request has ended when the last of them has."""
    run = rehearse()
    rows = run.traffic()
    doubled = rows + [run.request(row.intended - run.origin, seq=row.seq, copy=1) for row in rows]
    view = run.view(STEADY)
    since = view.last_fault_end
    assert recovered_at(doubled, view.steady_state, since) == since
    half = [row for row in doubled if row.copy == 0 or row.intended < since]
    assert recovered_at(half, view.steady_state, since) is None


def test_fast_enough_to_be_asked_all_the_time(rehearse):
    """6,000 requests that never hold are looked through in a fraction of a second."""
    run = rehearse(fault=1.0, recovery=15.0)
    run.traffic(lambda at: {"status": 500} if round(at * 10) % 5 == 0 else {}, rate=300.0)
    view = run.view({"place-order": {"success_rate": ">= 99.9%", "p99": "< 250ms", "mean": "< 100ms"}})
    began = time.monotonic()
    assert recovered_at(view, view.steady_state, view.last_fault_end) is None
    assert time.monotonic() - began < 1.0


# Latencies far from the bound: a row's end decides when it arrives, not on which side of it the row lies.
drawn_traffic = st.lists(
    st.tuples(st.sampled_from([0.01, 0.2, 0.9, 2.0]), st.booleans(), st.integers(0, 9)), min_size=1, max_size=80
)


def traffic_of(rehearse, drawn, copies):
    """A steady second, then drawn traffic from 0 s on, ten a second; the fault ends at 1 s."""
    run = rehearse(steady=1.0, fault=1.0)
    rows = []
    for seq, (latency, ok, unlike) in enumerate([(0.01, True, 1)] * 10 + drawn):
        for copy in range(copies):
            status = 201 if ok or unlike else 500
            rows.append(run.request(seq / 10 - 1.0, seq=seq, latency=latency + copy / 8, status=status, copy=copy))
    return run, rows


@settings(max_examples=60, deadline=None)
@given(
    drawn=drawn_traffic, copies=st.integers(1, 2), every=st.floats(0.05, 0.4), metric=st.sampled_from(["p90", "max"])
)
def test_later_rows_never_change_an_answer(rehearse, drawn, copies, every, metric):
    """Asked again and again while rows arrive in the order of their ends, the first answer is the last one."""
    run, rows = traffic_of(rehearse, drawn, copies)
    steady = {"place-order": OperationBounds.model_validate({"success_rate": ">= 90%", metric: "< 1s"})}
    since = run.origin + 1.0
    rows.sort(key=lambda row: row.ended)
    final = recovered_at(rows, steady, since)
    moment, first = run.origin, None
    while moment < rows[-1].ended + 1:
        moment += every
        answer = recovered_at([row for row in rows if row.ended <= moment], steady, since)
        if first is not None:
            assert answer == first
        first = answer if first is None else first
    assert first == final


@settings(max_examples=60, deadline=None)
@given(drawn=drawn_traffic)
def test_the_answer_is_the_earliest_window_that_holds(rehearse, drawn):
    """Compared with the definition, written down without regard to speed."""
    run, rows = traffic_of(rehearse, drawn, 1)
    steady = {"place-order": OperationBounds.model_validate({"success_rate": ">= 90%", "mean": "< 1s", "max": "< 1s"})}
    since = run.origin + 1.0
    expected = None
    for start in [since, *(row.intended for row in rows if row.intended >= since)]:
        inside = [row for row in rows if row.intended in Window(start, start + 1.0)]
        if start + 1.0 > rows[-1].intended or expected is not None:
            break
        if inside and all(bound.holds(measure(inside, m, 1.0)) for m, bound in steady["place-order"].bounds()):
            expected = start
    assert recovered_at(rows, steady, since) == expected


def test_the_engine_and_the_judge_agree(rehearse):
    """On a history that grows and on the complete one, the answer is the same."""
    run = rehearse()
    rows = run.traffic(lambda at: {"latency": 1.9, "status": 504} if 0 <= at < 7.3 else {})
    view = run.view(STEADY)
    live, answers = History(), []
    for row in sorted(rows, key=lambda row: row.ended):
        live.add(row)
        if row.intended > run.origin + 8:
            answers.append(recovered_at(View(live, view.operations), view.steady_state, view.last_fault_end))
    assert {answer for answer in answers if answer is not None} == {
        recovered_at(view, view.steady_state, view.last_fault_end)
    }


def test_held(rehearse, by_id):
    """Recovery in time holds, with the time it took."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 8 else {})
    finding = by_id(Recovery(within="5s"), run.view(STEADY))["recovery"]
    assert (finding.outcome, finding.seen) == (Outcome.HELD, "after 2s")
    assert finding.samples == 200


def test_violated_when_late(rehearse, by_id):
    """Recovery after the limit is violated, and tells what was wrong until then."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if 0 <= at < 8 else {})
    finding = by_id(Recovery(within="1s"), run.view(STEADY))["recovery"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "after 2s")
    assert "place-order.success_rate 0%" in finding.worst
    assert finding.rows[-1] == "place-order-519 (500, 20ms)"


def test_only_what_keeps_it_from_holding_is_told(rehearse, by_id):
    """Neither a bound that is met, however few the samples, nor that they are few where one is out of it."""
    steady = {"place-order": {"success_rate": ">= 99%", "fallback_rate": "<= 10%"}}
    run = rehearse()
    run.traffic(lambda at: {"fallback": at >= 0})
    assert by_id(Recovery(within="1s"), run.view(steady))["recovery"].worst == (
        "last second before: place-order.fallback_rate 100%"
    )
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if at >= 0 and int(at * 40) % 40 == 7 else {})
    assert by_id(Recovery(within="1s"), run.view(steady))["recovery"].worst == (
        "last second before: place-order.success_rate 97.5%"
    )


def test_violated_when_never(rehearse, by_id):
    """No recovery while it was watched."""
    run = rehearse(recovery=15.0)
    run.traffic(lambda at: {"status": 500} if at >= 0 else {})
    finding = by_id(Recovery(within="5s"), run.view(STEADY))["recovery"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "not within 15s")


def flapping(at):
    """From the fault's end (6 s) on well for 1.3 s and ill for 4 s, for ever."""
    return {"status": 503} if 0 <= at < 6 or (at - 6) % 5.3 > 1.3 else {}


@pytest.mark.parametrize(("recovery", "after"), [(2.5, 0.0), (4.0, 0.0), (1.1, 6.0), (8.0, 6.0), (6.9, 0.0)])
def test_well_for_a_second_at_a_time(rehearse, by_id, recovery, after):
    """Steady state that is lost again never held, however often it came back; not even if it is there at the end."""
    run = rehearse(recovery=recovery, after=after)
    run.traffic(flapping)
    finding = by_id(Recovery(within="8s"), run.view({"place-order": {"success_rate": ">= 95%"}}))["recovery"]
    assert not finding.held
    assert "; it held after 0s, but from then on as a whole place-order.success_rate" in finding.seen


def test_back_for_good_after_a_good_spell(rehearse, by_id):
    """What counts is the moment from which on it stayed."""
    run = rehearse(recovery=8.0)
    run.traffic(lambda at: {"status": 503} if 0 <= at < 6 or 7.2 <= at < 10 else {})
    steady = {"place-order": {"success_rate": ">= 95%"}}
    finding = by_id(Recovery(within="5s"), run.view(steady))["recovery"]
    assert (finding.outcome, finding.seen) == (Outcome.HELD, "after 3.95s"), "one of twenty in a second is steady"
    finding = by_id(Recovery(within="2s"), run.view(steady))["recovery"]
    assert finding.outcome is Outcome.VIOLATED
    assert finding.seen.startswith("after 3.95s; it held after 0s, but")


@pytest.mark.parametrize("bound", [">= 99%", ">= 99.9%"])
def test_one_failure_later_is_what_it_is_in_the_steady_phase(rehearse, by_id, bound):
    """It would be violated by a second of 40 requests alone, and is not by too few of these to tell."""
    for moment in (7.5, 8.4, 9.9):
        run = rehearse(recovery=4.0)
        run.traffic(lambda at, bad=moment: {"status": 503} if 0 <= at < 6 or bad <= at < bad + 0.02 else {})
        finding = by_id(Recovery(within="1s"), run.view({"place-order": {"success_rate": bound}}))["recovery"]
        assert (finding.outcome, finding.seen) == (Outcome.HELD, "after 0s")


def test_a_spell_after_a_lost_one_must_last(rehearse, by_id):
    """Well at the end, but for a second only, and seen to be lost before: nobody knows."""
    run = rehearse(recovery=4.0)
    run.traffic(lambda at: {"status": 503} if 0 <= at < 6 or 7.2 <= at < 8.7 else {})
    finding = by_id(Recovery(within="5s"), run.view({"place-order": {"success_rate": ">= 95%"}}))["recovery"]
    assert finding.outcome is Outcome.VACUOUS
    assert "but was watched for 1.3" in finding.seen


def gap(rehearse, ill, second=6.0):
    """A fault until 2 s, another from ``second`` on; 503 in ``ill`` seconds after the first."""
    run = rehearse(fault=0.0)
    run.fault(0.0, 2.0)
    run.fault(second, second + 2.0)
    run.traffic(lambda at: {"status": 503} if 2 <= at < 2 + ill else {}, end=second + 6)
    return run.view({"place-order": {"success_rate": ">= 95%"}})


@pytest.mark.parametrize(
    ("ill", "within", "outcome"), [(3.0, "1s", "violated"), (0.9, "1s", "held"), (9.0, "1s", "violated")]
)
def test_it_recovers_from_each_fault_that_another_follows_later(rehearse, by_id, ill, within, outcome):
    """The time between faults is healthy: ill there, it has not recovered from the first."""
    finding = by_id(Recovery(within=within), gap(rehearse, ill))["recovery.between"]
    assert str(finding.outcome) == outcome
    assert finding.seen.endswith("(of the fault that ended at +2.0 s)")


@pytest.mark.parametrize(("within", "second"), [("2s", 6.0), ("1s", 5.0), ("0s", 2.1)])
def test_faults_that_follow_each_other_sooner_ask_for_nothing_between(rehearse, by_id, within, second):
    """There was no time in which it could have been known."""
    assert "recovery.between" not in by_id(Recovery(within=within), gap(rehearse, 9.0, second))


def sop(run, started, ended):
    """An SOP that took from ``started`` to ``ended``."""
    run.add(
        r.SopRun(
            sop="restart", alert="Down", fingerprint="f", incident="i", severity="critical", action_type="restart",
            target_service="orders", priority="P1", queued=run.origin + started, started=run.origin + started,
            ended=run.origin + ended, outcome="done",
        )
    )  # fmt: skip


def test_an_sop_that_begins_later_is_a_cure_of_its_own(rehearse, by_id):
    """It takes the service down, as it is meant to, when steady state holds already. Whatever comes long after it
    counts again."""
    steady = {"place-order": {"success_rate": ">= 95%"}}
    for back, held in ((9.5, True), (13.9, False)):
        run = rehearse(recovery=8.0)
        run.traffic(lambda at, back=back: {"status": 503} if 0 <= at < 6 or 8 <= at < back else {})
        sop(run, 8.0, 8.5)
        assert by_id(Recovery(within="2s"), run.view(steady))["recovery"].held == held


def test_vacuous(rehearse, by_id):
    """Without a fault, or without traffic after it, nothing is proved."""
    run = rehearse(fault=0.0)
    run.traffic()
    assert by_id(Recovery(within="5s"), run.view(STEADY))["recovery"].outcome is Outcome.VACUOUS
    run = rehearse()
    run.traffic(end=6.5)
    finding = by_id(Recovery(within="5s"), run.view(STEADY))["recovery"]
    assert finding.outcome is Outcome.VACUOUS
    assert "1s are needed" in finding.seen
