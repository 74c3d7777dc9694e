"""``breaker``: opening, probing and closing, read off simulated breakers of several makes, and off none."""

from __future__ import annotations

import heapq
import random

import pytest
from pydantic import ValidationError

from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS, Outcome

Breaker = EXPECTATIONS.get("breaker")
ASKED = {
    "on": "payments", "opens_within": "2s", "probes_every": "1s ± 30%", "closes_within": "3s",
    "calls_while_open": "<= 1",
}  # fmt: skip


def protected(
    rehearse, *, fault=6.0, again=None, breaks=None, recovery=6.0, rate=40.0, failing=0.01, failures=10, pause=1.0,
    trials=1, spread=0.0, attempts=1, answer=True, seed=0, arrivals="constant", traffic_until=None,
):  # fmt: skip
    """A service whose calls go through a breaker, event by event.

    It opens after ``failures`` failed calls in a row (None: no breaker), stays open for ``pause`` seconds (±
    ``spread``), lets ``trials`` calls through, and closes when they succeed. ``again`` is the time of a second fault,
    as (start, end); after ``breaks`` seconds no breaker is left. A call fails while a fault is active, after
    ``failing`` seconds, and is tried ``attempts`` times in all.
    """
    rng, run = random.Random(seed), rehearse(fault=fault, recovery=recovery)
    faults = [(0.0, fault), *([again] if again else [])]
    for started, lifted in faults[1:]:
        run.fault(started, lifted)
    until = run.end if traffic_until is None else traffic_until
    moments = [row.intended - run.origin for row in run.traffic(rate=rate, end=until)]
    if arrivals == "poisson":
        moments, at = [], run.start
        while (at := at + rng.expovariate(rate)) < until:
            moments.append(at)
    events = [(at, 0, number, "arrives") for number, at in enumerate(moments)]
    heapq.heapify(events)
    bad, open_until, under_trial = 0, -100.0, 0
    half_open = False
    while events:
        at, _, number, what = heapq.heappop(events)
        if what == "arrives":
            protects = failures is not None and (breaks is None or at < breaks)
            if protects and (at < open_until or (half_open and under_trial >= trials)):
                continue
            under_trial += half_open
            call = number
            ended, well = at, False
            for attempt in range(attempts):
                ended += 0.05 if attempt else 0.0
                well = not any(start <= ended < end for start, end in faults)
                status = 200 if well else (503 if answer else None)
                ended = run.call(ended, id=f"place-order-{call}", took=0.01 if well else failing, status=status)
                if well:
                    break
            heapq.heappush(events, (ended, 1, number, "well" if well else "failed"))
        elif what == "well":
            bad, half_open, under_trial = 0, False, 0
        elif failures is not None:
            bad += 1
            if half_open or bad >= failures:
                open_until = at + pause * (1 + rng.uniform(-spread, spread))
                bad, half_open, under_trial = 0, True, 0
    return run


def outcomes(findings):
    """Outcome by the last part of the id."""
    return {key.rpartition(".")[2]: str(finding.outcome) for key, finding in findings.items()}


HELD = dict.fromkeys(("opens_within", "probes_every", "closes_within", "calls_while_open"), "held")


@pytest.mark.parametrize(
    "make",
    [
        {},
        {"spread": 0.2, "seed": 1},
        {"spread": 0.2, "arrivals": "poisson", "seed": 2},
        {"failing": 0.3, "answer": False},
        {"failing": 1.0, "answer": False, "fault": 10.0},
        {"attempts": 3},
        {"rate": 120.0, "failures": 30},
        {"rate": 12.0, "failures": 5},
    ],
    ids=str,
)
def test_held(rehearse, by_id, make):
    """A breaker is recognised whether calls fail fast or hang, with jitter, with retries, at any rate."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse, **make).view())
    assert outcomes(findings) == HELD, findings


@pytest.mark.parametrize("seed", range(10))
def test_no_breaker_is_caught_whatever_the_arrivals(rehearse, by_id, seed):
    """Random arrivals have long gaps too; they are not taken for an open circuit."""
    run = protected(rehearse, failures=None, arrivals="poisson", rate=15.0, fault=20.0, seed=seed)
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    finding = findings["breaker.payments.opens_within"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "never opened")
    assert "before" in finding.worst
    assert outcomes(findings) == {**dict.fromkeys(HELD, "vacuous"), "opens_within": "violated"}


def test_retries_without_a_breaker_are_no_breaker(rehearse, by_id):
    """Calls that hang and are retried go on at their rate."""
    run = protected(rehearse, failures=None, failing=0.5, attempts=3, answer=False)
    assert outcomes(by_id(Breaker.model_validate(ASKED), run.view()))["opens_within"] == "violated"


def test_a_starved_pool_is_no_breaker(rehearse, by_id):
    """Ten workers that hang for a second each make few calls too, but nobody was free to make more."""
    run = rehearse()
    free, number = [0.0] * 10, 0
    for request in run.traffic():
        at = request.intended - run.origin
        if not 0 <= at < 6:
            run.call(at, id=request.id)
        elif min(free) <= at:
            free[free.index(min(free))] = run.call(at, id=f"slow-{number}", took=1.0, status=None)
            number += 1
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    assert findings["breaker.payments.opens_within"].seen == "never opened"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        {"takes": 0.7},
        {"takes": 1.0},
        {"takes": 2.0},
        {"takes": 8.0},
        {"takes": 1.0, "count": 10},
        {"takes": 1.0, "after": 0.1},
        {"takes": 1.0, "calls": 2},
        {"takes": 0.7, "attempts": 3, "pause": 0.2},
    ],
    ids=str,
)
def test_workers_who_all_wait_are_no_open_circuit(rehearse, by_id, make, known):
    """However long they hang: none was free to call, and the first that is free calls."""
    findings = by_id(Breaker.model_validate(ASKED), rehearse().workers(known=known, **make).view())
    assert findings["breaker.payments.opens_within"].seen == "never opened"
    assert outcomes(findings) == {**dict.fromkeys(HELD, "vacuous"), "opens_within": "violated"}


@pytest.mark.parametrize("known", [True, False])
def test_workers_who_wait_between_attempts_are_no_open_circuit(rehearse, by_id, known):
    """Their attempts fail at once, with long pauses; where no id tells of it, that the clients wait does."""
    made = rehearse().workers(takes=0.02, attempts=4, pause=1.0, known=known)
    findings = by_id(Breaker.model_validate(ASKED), made.view())
    assert "held" not in outcomes(findings).values(), findings


def test_a_service_that_hangs_for_good_proves_nothing(rehearse, by_id):
    """Its calls fail, and from then on it neither calls nor answers."""
    run = rehearse()
    run.traffic(lambda at: {"error": "timeout", "latency": 2.0} if at > 0 else {})
    for request in run.view().requests():
        if request.intended < run.origin + 0.3:
            run.call(request.intended - run.origin, id=request.id, took=0.01)
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    assert set(outcomes(findings).values()) == {"vacuous"}
    assert "no client was answered" in findings["breaker.payments.opens_within"].seen


@pytest.mark.parametrize(
    ("make", "violated"),
    [
        ({"failures": 100}, "opens_within"),
        ({"pause": 0.25}, "opens_within"),
        ({"pause": 0.5}, "probes_every"),
        ({"pause": 2.0, "fault": 10.0}, "probes_every"),
        ({"trials": 3, "failing": 0.1}, "calls_while_open"),
    ],
    ids=str,
)
def test_each_deviation_is_named(rehearse, by_id, make, violated):
    """Slow to open, probing too often or too rarely, letting too many through."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse, **make).view())
    found = outcomes(findings)
    assert found.pop(violated) == "violated", findings
    assert "violated" not in found.values()


def test_figures_and_rows(rehearse, by_id):
    """Every finding says what was measured and which calls it was read off."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse).view())
    opens, probes = findings["breaker.payments.opens_within"], findings["breaker.payments.probes_every"]
    assert opens.seen == "after 235ms", "when the tenth has failed"
    assert opens.expected == "opens within 2s of the fault"
    assert probes.samples == 4
    assert 0.99 < float(probes.seen.removesuffix("s")) < 1.04
    assert probes.rows[0].endswith("at +1.2 s (10ms)")
    assert probes.path == ("probes_every",)
    assert findings["breaker.payments.calls_while_open"].seen == "1 call in one probe"


def test_it_never_closes(rehearse, by_id):
    """Long after the fault the calls are still away."""
    run = protected(rehearse, recovery=8.0)
    kept = run.view()
    short = rehearse(recovery=8.0)
    short.traffic()
    for row in kept.history.rows(r.Exchange):
        if row.started < run.origin + 6:
            short.add(row)
    finding = by_id(Breaker.model_validate(ASKED), short.view())["breaker.payments.closes_within"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "not within 6.98s")


def test_it_closes_late(rehearse, by_id):
    """Closing later than asked is violated with the time it took."""
    run = protected(rehearse, pause=1.0)
    finding = by_id(Breaker.model_validate({**ASKED, "closes_within": "100ms"}), run.view())
    assert finding["breaker.payments.closes_within"].outcome is Outcome.VIOLATED


def test_vacuous_when_the_traffic_ends_too_soon(rehearse, by_id):
    """A recovery phase that ends before the breaker can close proves nothing about closing."""
    run = protected(rehearse, traffic_until=6.1)
    finding = by_id(Breaker.model_validate(ASKED), run.view())["breaker.payments.closes_within"]
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen.startswith("not closed 75ms after the fault")
    assert finding.seen.endswith("4s are needed")


def test_vacuous_when_the_fault_is_too_short_to_probe(rehearse, by_id):
    """One probe says nothing of how often they come."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse, fault=2.0).view())
    assert outcomes(findings) == {**HELD, "probes_every": "vacuous"}


def test_violated_without_any_probe(rehearse, by_id):
    """A circuit that is open for long and never tries again would never close by itself."""
    run = rehearse()
    for request in run.traffic():
        if not 0.5 <= request.intended - run.origin < 6:
            run.call(request.intended - run.origin, id=request.id)
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    assert findings["breaker.payments.probes_every"].outcome is Outcome.VIOLATED
    assert findings["breaker.payments.probes_every"].seen.startswith("0 probes (0 calls) in 5.5")


def test_calls_without_a_pause_say_how_often_they_came(rehearse, by_id):
    """One in 0.3 s where a probe a second is asked for."""
    run = rehearse()
    for request in run.traffic():
        if not 0.5 <= request.intended - run.origin < 6:
            run.call(request.intended - run.origin, id=request.id)
    for n in range(16):
        run.call(0.9 + 0.3 * n, id=f"eager-{n}")
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    every, calls = findings["breaker.payments.probes_every"], findings["breaker.payments.calls_while_open"]
    assert every.outcome is Outcome.VIOLATED
    assert every.seen.startswith("1 probe (16 calls, one every 300ms) in 5.5"), every.seen
    assert (every.samples, calls.worst) == (16, "1 of 1 probe is out of bounds")


def test_vacuous_says_why(rehearse, by_id):
    """Too few calls, no steady phase, no load, no call during the fault: nothing can be read off."""
    asked = Breaker.model_validate(ASKED)
    quiet = protected(rehearse, rate=2.0)
    silent, stopped = rehearse(), protected(rehearse, traffic_until=0.5)
    for request in silent.traffic():
        if not 0 <= request.intended - silent.origin < 6:
            silent.call(request.intended - silent.origin)
    for run, words in (
        (quiet, "2/s calls in the steady phase are too few"),
        (silent, "no call reached payments during the fault"),
        (stopped, "the clients sent 3.33/s during the fault and 40/s before it"),
        (rehearse(steady=0.0), "no steady phase"),
        (rehearse(fault=0.0), "no fault"),
    ):
        findings = by_id(asked, run.view())
        assert set(outcomes(findings).values()) == {"vacuous"}
        assert words in findings["breaker.payments.opens_within"].seen


def test_connections_cut_on_arrival_are_calls(rehearse, by_id):
    """A reset before the request came through leaves no exchange, yet it was a call: no open circuit."""
    run = rehearse()
    for number, request in enumerate(run.traffic()):
        at = request.intended
        if 0 <= at - run.origin < 6:
            run.add(
                r.Connection(
                    proxy="payments", conn=number + 2, client="c", opened=at, ended=at + 0.001, sent=0, received=0,
                    end="toxic", reset=True,
                )
            )  # fmt: skip
        else:
            run.call(at - run.origin)
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    assert findings["breaker.payments.opens_within"].seen == "never opened"


def test_only_faults_on_the_dependency_are_counted_from(rehearse, by_id):
    """Another fault before and after does not move the moments."""
    run = protected(rehearse, recovery=9.0)
    run.fault(-1.0, 8.0, target="redis")
    findings = by_id(Breaker.model_validate(ASKED), run.view())
    assert findings["breaker.payments.opens_within"].seen == "after 235ms"
    assert outcomes(findings) == HELD


def test_other_paths_do_not_count(rehearse, by_id):
    """A health check that goes on is not a call that the breaker lets through."""
    run = protected(rehearse)
    for number in range(240):
        run.call(number / 40, path="/healthz", method="GET")
    for more in ({"path": "/charge"}, {"method": "POST"}):
        assert outcomes(by_id(Breaker.model_validate({**ASKED, **more}), run.view())) == HELD
    assert outcomes(by_id(Breaker.model_validate(ASKED), run.view()))["opens_within"] == "violated"


def test_probes_need_a_lower_limit():
    """Without one, any call would be a probe."""
    with pytest.raises(ValidationError, match="no lower limit"):
        Breaker.model_validate({**ASKED, "probes_every": "<= 2s"})


AGAIN = {"fault": 6.0, "again": (14.0, 20.0), "recovery": 18.0}


@pytest.mark.parametrize(
    "make", [{}, {"failing": 1.0, "answer": False, "fault": 8.0, "again": (14.0, 22.0)}, {"attempts": 3}], ids=str
)
def test_each_fault_is_judged_by_itself(rehearse, by_id, make):
    """The calls of the healthy time between two faults are no probe, and no wait for one."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse, **{**AGAIN, **make}).view())
    assert outcomes(findings) == HELD, findings
    assert findings["breaker.payments.probes_every"].seen.endswith("the worst of 2")


@pytest.mark.parametrize(
    ("make", "violated"),
    [
        ({"breaks": 10.0}, {"opens_within"}),
        ({"fault": 6.0, "again": (14.0, 20.0), "recovery": 20.0, "pause": 2.5}, {"probes_every"}),
    ],
    ids=str,
)
def test_a_second_fault_is_judged(rehearse, by_id, make, violated):
    """A breaker that is gone at the second fault; the first is well judged."""
    findings = by_id(Breaker.model_validate(ASKED), protected(rehearse, **{**AGAIN, **make}).view())
    assert {name for name, outcome in outcomes(findings).items() if outcome == "violated"} == violated, findings
    if "breaks" in make:
        opens = findings["breaker.payments.opens_within"]
        assert opens.seen == "never opened, in the fault at +14.0 s, the worst of 2"
        assert findings["breaker.payments.probes_every"].because == opens.id


def test_a_circuit_that_is_still_open_needs_no_time_to_open(rehearse, by_id):
    """The second fault comes before the first probe after the first, and so before the circuit could close."""
    run = protected(rehearse, fault=6.0, again=(7.1, 16.0), pause=2.5, recovery=14.0)
    asked = {"on": "payments", "opens_within": "0.3s", "closes_within": "3s", "probes_every": "2.5s ± 20%"}
    findings = by_id(Breaker.model_validate(asked), run.view())
    assert outcomes(findings) == {"opens_within": "held", "probes_every": "vacuous", "closes_within": "vacuous"}
    assert "not closed 1.1s after the fault" in findings["breaker.payments.closes_within"].seen


def test_faults_that_overlap_are_one(rehearse, by_id):
    """The end of the first, within the second, is no end."""
    run = protected(rehearse, fault=8.0)
    run.fault(1.0, 5.0)
    assert outcomes(by_id(Breaker.model_validate(ASKED), run.view())) == HELD


@pytest.mark.parametrize("bound", HELD)
def test_each_bound_alone(rehearse, by_id, bound):
    """Not every service promises everything; without an interval of probes, ten usual calls tell an open circuit."""
    asked = {"on": "payments", bound: ASKED[bound]}
    assert outcomes(by_id(Breaker.model_validate(asked), protected(rehearse).view())) == {bound: "held"}
    found = by_id(Breaker.model_validate(asked), protected(rehearse, failures=None, arrivals="poisson").view())
    assert outcomes(found) == {bound: "violated" if bound == "opens_within" else "vacuous"}
    if bound != "opens_within":
        assert found[f"breaker.payments.{bound}"].seen == "it did not open in 6s"


def test_a_fault_too_short_to_know_says_so(rehearse, by_id):
    """Four seconds do not tell a breaker that waits for 60 s from none."""
    asked = {"on": "payments", "opens_within": "2s", "probes_every": "60s ± 20%"}
    finding = by_id(Breaker.model_validate(asked), protected(rehearse, fault=4.0, pause=60.0).view())[
        "breaker.payments.opens_within"
    ]
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen == "not open 4s after the fault, which is too short to know; 26s are needed"


def test_too_few_probes_are_violated_where_the_fault_had_room_for_more(rehearse, by_id):
    """One probe in 6 s, where one is due each 1.3 s at the latest; in 4 s it cannot be known."""
    asked = Breaker.model_validate({"on": "payments", "probes_every": "1s ± 30%"})
    finding = by_id(asked, protected(rehearse, pause=3.0).view())["breaker.payments.probes_every"]
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "1 probe (1 call) in 5.76s")
    finding = by_id(asked, protected(rehearse, pause=3.0, fault=4.0).view())["breaker.payments.probes_every"]
    assert finding.outcome is Outcome.VACUOUS
    assert "1 probe (1 call) in 3.76s; 3 probes are needed, so let the fault last 4.1" in finding.seen


def test_different_calls_of_a_request_are_calls(rehearse, by_id):
    """A probe that lets two different calls through lets two through; an attempt more of the same is the same call."""
    asked = Breaker.model_validate({**ASKED, "calls_while_open": "= 2"})
    run = protected(rehearse)
    for call in run.view().exchanges("payments"):
        run.call(call.started - run.origin + 0.02, id=call.id, path="/audit")
        run.call(call.started - run.origin + 0.02, id=call.id)
    assert outcomes(by_id(asked, run.view())) == HELD


@pytest.mark.parametrize(
    ("bound", "seen"), [("<= 1", "vacuous"), ("<= 2", "held"), ("= 2", "vacuous"), (">= 3", "violated")]
)
def test_the_calls_of_copies_are_not_told_apart(rehearse, by_id, bound, seen):
    """Two calls with one id are two attempts, or one of each copy."""
    run = protected(rehearse)
    for request in list(run.view().requests()):
        run.request(request.intended - run.origin, seq=request.seq, copy=1)
    for call in list(run.view().exchanges("payments")):
        run.call(call.started - run.origin, id=call.id, status=call.status)
    asked = Breaker.model_validate({**ASKED, "calls_while_open": bound})
    assert outcomes(by_id(asked, run.view())) == {**HELD, "calls_while_open": seen}


def test_attempts_that_carry_the_trace_alone_are_one_call(rehearse, by_id):
    """Three attempts in a probe, known by their trace id."""
    run, calls = rehearse(), protected(rehearse, attempts=3).view().exchanges("payments")
    for number, request in enumerate(run.traffic()):
        trace = f"00-{number + 1:032x}-{'cd' * 8}-01"
        run.request(request.intended - run.origin, "traced", number, traceparent=trace, id="")
    for call in calls:
        trace = f"00-{int(call.id.rpartition('-')[2]) + 1:032x}-{'ef' * 8}-01"
        run.call(call.started - run.origin, took=call.ended - call.started, status=call.status,
                 headers={"traceparent": trace})  # fmt: skip
    assert outcomes(by_id(Breaker.model_validate(ASKED), run.view())) == HELD


def test_closing_is_awaited(rehearse):
    """While the breaker may still close in time, the traffic goes on; no longer."""
    asked, opened = Breaker.model_validate(ASKED), protected(rehearse, fault=6.0)
    calls = [row for row in opened.view().exchanges("payments") if row.started < opened.origin + 6]
    run = rehearse()
    run.traffic()
    for row in calls:
        run.add(row)
    end = run.origin + 6
    assert asked.awaits(run.view(), end + 1)
    assert not asked.awaits(run.view(), end + 4.2)
    assert not asked.awaits(opened.view(), end + 1), "it has closed"
    assert not Breaker.model_validate({**ASKED, "closes_within": None}).awaits(run.view(), end + 1)
    assert not asked.awaits(protected(rehearse, failures=None).view(), end + 1), "it never opened"


def test_it_asks_for_something():
    """A block with no bound proves nothing."""
    with pytest.raises(ValidationError, match="at least one"):
        Breaker.model_validate({"on": "payments"})
