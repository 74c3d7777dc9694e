"""Clients made to measure, with parameters drawn at random: held exactly where the parameters lie within the bounds.

Parameters keep some distance from the limits: what is read off calls is known to a call's distance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.expectations._steady import recovered_at
from chaoskit.history import rows as r
from chaoskit.language.expectation import EXPECTATIONS

Breaker, Ledger, Retries = (EXPECTATIONS.get(name) for name in ("breaker", "ledger", "retries"))
slow_enough = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def within(low: float, high: float, apart: float) -> st.SearchStrategy[float]:
    """A share of a limit: below it or above it, but not within ``apart`` of it."""
    return st.floats(low, 1 - apart) | st.floats(1 + apart, high)


@dataclass(frozen=True)
class Fault:
    """How a breaker behaves in one fault. Times are seconds; ``back`` is the share of calls that come after it."""

    opens: float
    pause: float
    trials: int
    took: float
    closes: float
    back: float


OPENS, CLOSES, CALLS = 1.5, 2.5, 2


@st.composite
def breakers(draw: Any) -> tuple[float, float, list[Fault]]:
    """Calls per second, the usual pause between probes, and what happens in each of one or two faults."""
    rate, every = draw(st.integers(40, 90)), draw(st.floats(0.6, 2.0))
    faults = st.builds(
        Fault,
        opens=within(0.1, 1.6, 0.1).map(lambda share: share * OPENS),
        pause=st.sampled_from([0.65, 0.8, 1.0, 1.2, 1.4, 1.8]).map(lambda share: share * every),
        trials=st.integers(1, 3),
        took=st.floats(0.01, 1.5),
        closes=within(0.0, 1.8, 0.1).map(lambda share: share * CLOSES),
        back=st.sampled_from([0.35, 0.5, 0.6, 0.8, 1.0]),
    )
    return float(rate), every, draw(st.lists(faults, min_size=1, max_size=2))


@slow_enough
@given(drawn=breakers())
def test_breakers(rehearse: Any, by_id: Any, drawn: tuple[float, float, list[Fault]]) -> None:
    """Each bound is held exactly when it is in every fault."""
    rate, every, faults = drawn
    lengths = [each.opens + 4 * (max(each.pause, 1.3 * every) + each.trials * each.took) + 1 for each in faults]
    settled = 2 * CLOSES + 3
    run = rehearse(fault=0.0, recovery=sum(lengths) + len(faults) * settled)
    run.traffic(rate=rate)
    calls, at = [(-5 + number / rate, 0.01) for number in range(int(5 * rate))], 0.0
    for each, length in zip(faults, lengths, strict=True):
        run.fault(at, at + length)
        calls += [(at + number / rate, 0.01) for number in range(int(each.opens * rate) + 1)]
        probe = calls[-1][0] + 0.01 + each.pause
        while probe < at + length:
            for _ in range(each.trials):  # one after the other, at once
                if probe < at + length:
                    calls.append((probe, each.took))
                probe += each.took
            probe += each.pause
        end = at + length + each.closes
        at += length + settled
        calls += [(end + number / rate / each.back, 0.01) for number in range(int((at - end) * rate * each.back))]
    for number, (started, took) in enumerate(calls):
        run.call(started, took=took, id=f"call-{number}")
    asked = {
        "on": "payments", "opens_within": f"{OPENS}s", "probes_every": f"{every}s ± 30%",
        "closes_within": f"{CLOSES}s", "calls_while_open": f"<= {CALLS}",
    }  # fmt: skip
    findings = by_id(Breaker.model_validate(asked), run.view())
    told = {key.rpartition(".")[2]: finding.outcome for key, finding in findings.items()}
    assert told == {
        "opens_within": verdict(each.opens <= OPENS for each in faults),
        "probes_every": verdict(0.7 <= each.pause / every <= 1.3 for each in faults),
        "closes_within": verdict(each.closes <= CLOSES and each.back >= 0.7 for each in faults),
        "calls_while_open": verdict(each.trials <= CALLS for each in faults),
    }, findings


@slow_enough
@given(
    count=st.integers(1, 12), takes=st.floats(0.01, 8.0), attempts=st.integers(1, 3), pause=st.floats(0.0, 1.0),
    after=st.floats(0.0, 0.3), calls=st.integers(1, 2), known=st.booleans(), rate=st.integers(12, 40),
)  # fmt: skip
def test_workers_without_a_breaker(
    rehearse: Any, by_id: Any, count: int, takes: float, attempts: int, pause: float, after: float, calls: int,
    known: bool, rate: int,
) -> None:  # fmt: skip
    """However many there are and however long they hang: no bound on a breaker is held that they do not have."""
    run = rehearse(recovery=12.0).workers(
        count, takes=takes, attempts=attempts, pause=pause, after=after, calls=calls, known=known, rate=rate
    )
    asked = {
        "on": "payments", "opens_within": "2s", "probes_every": "1s ± 30%", "closes_within": "4s",
        "calls_while_open": "<= 4",
    }  # fmt: skip
    findings = by_id(Breaker.model_validate(asked), run.view())
    assert "held" not in [finding.outcome for finding in findings.values()], findings


def verdict(met: Any) -> str:
    """What a bound that is always met has come to."""
    return "held" if all(met) else "violated"


@slow_enough
@given(
    attempts=st.integers(1, 5), kinds=st.integers(1, 3), factor=st.floats(1.0, 3.0), first=st.floats(0.02, 0.3),
    jitter=st.sampled_from([0.0, 0.1, 0.25, 0.5]), carries=st.sampled_from(["id", "trace"]), seed=st.integers(0, 999),
)  # fmt: skip
def test_retries(
    rehearse: Any, by_id: Any, attempts: int, kinds: int, factor: float, first: float, jitter: float, carries: str,
    seed: int,
) -> None:  # fmt: skip
    """However many different calls a request makes: those of one kind are counted, and the pauses between them."""
    run, rng = rehearse(fault=20.0), random.Random(seed)
    for request in run.traffic(rate=20.0):
        trace = f"00-{request.seq + 1:032x}-{'ab' * 8}-01"
        run.request(request.intended - run.origin, "traced", request.seq, id=f"t{request.seq}", traceparent=trace)
        headers, known = ({"traceparent": trace}, "") if carries == "trace" else ({}, request.id)
        for kind in range(kinds):
            at = request.sent - run.origin + kind * 0.7
            for number in range(attempts):
                at = run.call(at, id=known, headers=headers, path=f"/{kind}")
                at += first * factor**number * rng.uniform(1 - jitter, 1 + jitter)
    asked = {"on": "payments", "attempts": "<= 3", "amplification": "<= 3"}
    pauses = {"first": f"{first}s ± {5 + 60 * jitter}%", "factor": f"{factor} ± {5 + 100 * jitter}%"}
    if attempts >= 3:
        asked["backoff"] = pauses
    findings = by_id(Retries.model_validate(asked), run.view())
    told = {key.removeprefix("retries.payments."): finding.outcome for key, finding in findings.items()}
    expected = dict.fromkeys(("attempts", "amplification"), verdict([attempts <= 3]))
    if attempts >= 3:
        expected |= {"backoff.first": "held", "backoff.factor": "held"}
    assert told == expected, findings
    assert findings["retries.payments.amplification"].samples == 400 * kinds


@slow_enough
@given(
    tries=st.integers(4, 12), bears=st.lists(st.sampled_from(["id", "none", "own", "query"]), min_size=11, max_size=11),
    numbered=st.booleans(), shares=st.booleans(), beat=st.sampled_from([0.0, 0.3, 1.0]),
)  # fmt: skip
def test_attempts_under_any_name(
    rehearse: Any, by_id: Any, tries: int, bears: list[str], numbered: bool, shares: bool, beat: float
) -> None:
    """More attempts than the bound allows, each with an id, none, one of its own or a number: never held."""
    run = rehearse()
    for request in run.traffic(rate=20.0):
        at = request.sent - run.origin
        if shares:
            run.request(request.intended - run.origin, seq=request.seq, copy=1)
        for number in range(tries if 0 <= request.intended - run.origin < 6 else 1):
            kind = bears[number - 1] if number else "id"
            known = {"none": "", "own": f"own-{request.seq}-{number}"}.get(kind, request.id)
            path = f"/v1/{number}" if numbered else "/charge"
            at = run.call(at, id=known, path=f"{path}?n={number}" if kind == "query" else path, status=503)
    for number in range(round(16 / beat) if beat else 0):
        run.call(run.start + number * beat, path="/health")
    asked = {"on": "payments", "attempts": "<= 3", "amplification": "<= 3"}
    findings = by_id(Retries.model_validate(asked), run.view())
    assert "held" not in [finding.outcome for finding in findings.values()], findings


ENDS = {"acknowledged": {"status": 201}, "refused": {"status": 409}, "lost": {"error": "timeout"}}
WRITES = st.lists(
    st.tuples(st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=3), st.sampled_from([0, 1, 1, 1, 2])),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(writes=WRITES, strangers=st.integers(0, 1))
def test_ledgers(rehearse: Any, by_id: Any, writes: list[tuple[list[str], int]], strangers: int) -> None:
    """Each write comes in one to three copies that end differently, and stands there never, once or twice."""
    run = rehearse()
    for number, (ends, _) in enumerate(writes):
        for copy, end in enumerate(ends):
            run.request(number / 10, seq=number, copy=copy, **ENDS[end])
    there = [[f"place-order-{number}"] for number, (_, times) in enumerate(writes) for _ in range(times)]
    sql = "select id from orders"
    run.add(r.Read(name=f"postgres: {sql}", at=run.origin + 20, rows=[*there, *([["who"]] * strangers)]))
    asked = {"writes": "place-order", "read": {"sql": sql, "on": "postgres"}, "unexpected": 0}
    findings = by_id(Ledger.model_validate(asked), run.view())
    told = {key.rpartition(".")[2]: finding.outcome for key, finding in findings.items()}
    promised = ["acknowledged" in ends for ends, _ in writes]
    lost = [promise and not times for promise, (_, times) in zip(promised, writes, strict=True)]
    refused = [set(ends) == {"refused"} and times > 0 for ends, times in writes]
    if not any(promised):
        assert told == dict.fromkeys(("lost", "duplicated", "unexpected"), "vacuous")
    else:
        assert told == {
            "lost": verdict([not any(lost)]),
            "duplicated": verdict(times < 2 for _, times in writes),
            "unexpected": verdict([not any(refused), not strangers]),
        }, findings


@settings(deadline=None, max_examples=200)
@given(missing=st.integers(0, 60), copies=st.integers(1, 3), before=st.floats(0.0, 0.5), window=st.floats(0.2, 1.5))
def test_recovery_waits_for_what_is_under_way(
    rehearse: Any, missing: int, copies: int, before: float, window: float
) -> None:
    """One request of traffic that is well has not ended: nothing is known from there on, the very first included."""
    run = rehearse(steady=0.0, fault=0.0, recovery=2.0)
    moments = [
        run.request(number / 40, seq=number, copy=copy).intended
        for number in range(80)
        for copy in range(copies)
        if (number, copy) != (missing, copies - 1)
    ]
    known = [moment for moment in moments if moment < run.origin + missing / 40 - 1e-9]
    since = run.origin - before
    view = run.view({"place-order": {"success_rate": ">= 99%"}})
    run.operations["place-order"] = run.operations["place-order"].__class__(40.0, 2.0)
    found = recovered_at(view, view.steady_state, since, window)
    if known and since + window <= max(known) and since + window > run.origin:
        assert found == since
    elif known and run.origin + window <= max(known):
        assert found is not None
        assert run.origin - window < found <= run.origin
    else:
        assert found is None
