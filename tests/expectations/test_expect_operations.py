"""Figures of what callers saw, and their judgement."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.expectations._operations import judge_operations, measure
from chaoskit.expectations._steady import rank
from chaoskit.history.windows import Window
from chaoskit.language.expectation import Outcome
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.samples import PERCENTS, SHARES, needed

# No deadline for one example: the machine may be busy with other things.
relaxed = settings(max_examples=40, deadline=None)
KINDS = ((True, False), (True, True), (False, False))
"""Ok and fallback of an answer."""
answers = st.lists(st.tuples(st.floats(0.001, 5.0), st.booleans(), st.booleans()), min_size=1, max_size=60)


def requests_of(rehearse, drawn):
    """Requests with the drawn latencies, ok and fallback marks."""
    run = rehearse()
    return [
        run.request(index / 10, seq=index, latency=latency, status=200 if ok else 500, fallback=fallback)
        for index, (latency, ok, fallback) in enumerate(drawn)
    ]


def judged(view, metric, bound, windows=None):
    """The finding of one bound on place-order over the fault."""
    bounds = {"place-order": OperationBounds.model_validate({metric: bound})}
    (finding,) = judge_operations("during", bounds, view, view.fault_windows if windows is None else windows)
    return finding


@relaxed
@given(drawn=answers)
def test_shares_lie_between_nothing_and_all(rehearse, drawn):
    """Every share is within 0 and 1, and success and error make one."""
    requests = requests_of(rehearse, drawn)
    shares = [measure(requests, metric, 1.0) for metric in SHARES]
    assert all(value != value or 0 <= value <= 1 for value in shares)
    assert shares[0] + shares[1] == pytest.approx(1.0)


@relaxed
@given(drawn=answers)
def test_percentiles_are_ordered_and_close_to_the_exact_ones(rehearse, drawn):
    """p50 <= p75 <= ... <= max, each within the histogram's 0.1 % of the exact value of the same rank."""
    requests = requests_of(rehearse, drawn)
    exact = sorted(row.ended - row.intended for row in requests)
    values = [measure(requests, metric, 1.0) for metric in PERCENTS]
    assert values == sorted(values)
    assert values[-1] <= measure(requests, "max", 1.0) * 1.002
    for value, percent in zip(values, PERCENTS.values(), strict=True):
        assert value == pytest.approx(rank(exact, percent), rel=0.002)


@relaxed
@given(drawn=answers, seconds=st.floats(0.1, 100.0))
def test_throughput_counts_ok_answers_only(rehearse, drawn, seconds):
    """Throughput is ok answers over time; requests is how many were sent."""
    requests = requests_of(rehearse, drawn)
    assert measure(requests, "throughput", seconds) * seconds == pytest.approx(sum(row.ok for row in requests))
    assert measure(requests, "requests", seconds) == len(requests)


@relaxed
@given(drawn=answers)
def test_a_metric_does_not_depend_on_the_order_of_requests(rehearse, drawn):
    """Rows arrive when requests end: their order says nothing."""
    requests = requests_of(rehearse, drawn)
    for metric in (*SHARES, "p50", "p99", "mean", "max", "throughput"):
        there, back = measure(requests, metric, 1.0), measure(requests[::-1], metric, 1.0)
        assert there == pytest.approx(back, nan_ok=True)


def test_an_unknown_metric_is_an_error(rehearse):
    """A typing mistake in the code is not a figure."""
    with pytest.raises(ValueError, match="p42"):
        measure(requests_of(rehearse, [(0.1, True, False)]), "p42", 1.0)


def test_latency_counts_from_the_intended_send_time(rehearse):
    """A request that was sent a second late and answered at once took a second."""
    run = rehearse()
    run.traffic(lambda at: {"sent": run.origin + at + 1.0, "latency": 1.01})
    assert judged(run.view(), "p50", "< 500ms").seen == "1.01s"


def test_latency_counts_timeouts(rehearse):
    """A request that was given up after 2 s was a 2 s request, though it failed."""
    run = rehearse()
    run.traffic(lambda at: {"latency": 2.0, "error": "timeout"} if 1 <= at < 2 else {})
    finding = judged(run.view(), "p99", "< 1s")
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "2s")
    assert finding.rows[0] == "place-order-240 (timeout, 2s)"


def test_the_worst_second_is_named(rehearse):
    """A violated success rate says when it was worst, and which requests failed."""
    run = rehearse()
    run.traffic(lambda at: {"status": 503} if 3.0 <= at < 3.4 else {})
    finding = judged(run.view(), "success_rate", ">= 99%")
    assert finding.outcome is Outcome.VIOLATED
    assert finding.seen == "93.33%"
    assert finding.samples == 240
    assert finding.worst == "worst second: 60% at +3.0 s, n=40"
    assert finding.rows[0] == "place-order-320 (503, 20ms)"
    assert (finding.id, finding.path) == ("during.place-order.success_rate", ("place-order", "success_rate"))


@pytest.mark.parametrize(
    ("metric", "bound", "outcome"),
    [
        ("success_rate", ">= 80%", "held"),
        ("success_rate", "<= 10%", "violated"),
        ("error_rate", "< 25%", "held"),
        ("error_rate", "< 10%", "violated"),
        ("fallback_rate", ">= 50%", "held"),
        ("fallback_rate", "< 50%", "violated"),
        ("p50", "< 100ms", "held"),
        ("p95", "< 100ms", "violated"),
        ("p99", ">= 1s", "violated"),
        ("p999", "< 1s", "vacuous"),
        ("mean", "10ms..200ms", "held"),
        ("max", "< 1s", "held"),
        ("max", "< 0.1s", "violated"),
        ("throughput", ">= 30/s", "held"),
        ("throughput", ">= 39/s", "violated"),
        ("requests", "= 240", "held"),
        ("requests", "<= 100", "violated"),
    ],
)
def test_every_metric(rehearse, metric, bound, outcome):
    """240 requests in 6 s: 200 quick ones, 40 failures that take half a second; all ok ones are fallbacks."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500, "latency": 0.5} if 2 <= at < 3 else {"fallback": True})
    assert judged(run.view(), metric, bound).outcome == outcome


@pytest.mark.parametrize(
    ("metric", "need"), [("p50", 10), ("p95", 20), ("p99", 100), ("success_rate", 20), ("max", 10)]
)
def test_too_few_samples_prove_nothing(rehearse, metric, need):
    """One sample less than needed is vacuous; with it there is a verdict."""
    for count, vacuous in ((need - 1, True), (need, False)):
        run = rehearse()
        run.traffic(rate=count / 6, start=0.0, end=6.0)
        bound = ">= 50%" if metric == "success_rate" else "< 1s"
        finding = judged(run.view(), metric, bound)
        assert (finding.outcome is Outcome.VACUOUS) == vacuous
        assert finding.samples == count
        assert not vacuous or f"{need} are needed" in finding.seen


def test_no_request_may_be_what_is_asked_for(rehearse):
    """``requests: "= 0"`` holds on none; a lower limit on none proves nothing."""
    run = rehearse()
    run.traffic(end=-1.0)
    assert judged(run.view(), "requests", "= 0").outcome is Outcome.HELD
    assert judged(run.view(), "requests", ">= 5").outcome is Outcome.VACUOUS


def test_a_fallback_rate_needs_ok_answers(rehearse):
    """When nothing is answered there is no share of fallbacks."""
    run = rehearse()
    run.traffic(lambda at: {"error": "refused", "latency": 0.001})
    finding = judged(run.view(), "fallback_rate", ">= 50%")
    assert (finding.outcome, finding.seen) == (Outcome.VACUOUS, "no samples; 20 are needed")


def test_a_bound_that_wants_failures_names_the_successes(rehearse):
    """Where everything is expected to fail, what succeeded is what offends."""
    run = rehearse()
    run.traffic(lambda at: {} if at == 2.0 else {"status": 429})
    finding = judged(run.view(), "success_rate", "= 0%")
    assert finding.outcome is Outcome.VIOLATED
    assert finding.rows == ("place-order-280 (201, 20ms)",)


def test_only_requests_due_in_the_windows_count(rehearse):
    """Windows are half open, and each one is counted from its own start."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if at >= 4 else {})
    windows = [Window(run.origin, run.origin + 1), Window(run.origin + 3, run.origin + 4)]
    finding = judged(run.view(), "success_rate", "= 100%", windows)
    assert (finding.outcome, finding.samples) == (Outcome.HELD, 80)
    assert judged(run.view(), "throughput", "= 40/s", windows).outcome is Outcome.HELD


def test_extra_streams_count_like_any_request(rehearse):
    """A burst is traffic of its operation."""
    run = rehearse()
    run.traffic()
    for seq in range(100):
        run.request(2.0, seq=seq, stream="burst-1", status=429, id=f"burst-{seq}")
    assert judged(run.view(), "requests", "= 340").outcome is Outcome.HELD
    assert judged(run.view(), "success_rate", ">= 99%").outcome is Outcome.VIOLATED


@pytest.mark.parametrize("seed", range(20))
def test_twenty_requests_cannot_hold_three_nines(rehearse, seed):
    """A service that loses 5 % is never held to 99.9 % by luck; where it lost two, it is violated."""
    fails = random.Random(seed)
    run = rehearse()
    rows = run.traffic(lambda _: {"status": 500 if fails.random() < 0.05 else 201}, rate=10, start=0.0, end=2.0)
    bounds = {"place-order": OperationBounds.model_validate({"success_rate": ">= 99.9%"})}
    (finding,) = judge_operations("during", bounds, run.view(), run.view().fault_windows)
    lost = sum(not row.ok for row in rows)
    assert (finding.outcome, finding.samples) == (Outcome.VIOLATED if lost > 1 else Outcome.VACUOUS, 20)


def test_five_of_ten_decide_a_median(rehearse):
    """The p50 of ten is the fifth: where five are too fast, none of the five that are missing could bring it back."""
    run = rehearse()
    for seq in range(5):
        run.request(0.1 * seq, seq=seq, latency=1.0)
    assert judged(run.view(), "p50", ">= 3s").outcome is Outcome.VIOLATED


@relaxed
@given(st.sampled_from(("success_rate", "error_rate", "fallback_rate", "p50", "p95", "p99", "max")), answers, st.data())
def test_too_few_samples_decide_only_what_more_could_not_change(rehearse, metric, drawn, data):
    """They never hold a bound; and where they violate it, any completion to what is needed would, too."""
    share = metric in SHARES
    limit = data.draw(st.sampled_from(("0.5%", "5%", "95%", "99%") if share else ("20ms", "500ms", "3s")))
    asked = OperationBounds.model_validate({metric: f"{data.draw(st.sampled_from(('>=', '<=')))} {limit}"})
    ((_, bound),) = asked.bounds()
    need = needed(metric, bound)

    def finding(extra):
        run = rehearse()
        for index, (latency, ok, fallback) in enumerate([*drawn, *extra]):
            run.request(index / 500, seq=index, latency=latency, status=200 if ok else 500, fallback=fallback and ok)
        (found,) = judge_operations("d", {"place-order": asked}, run.view(), [Window(run.origin, run.origin + 10)])
        return found

    few = finding([])
    if few.samples >= need:
        return
    assert not few.held
    missing = need - few.samples
    # Successes all, with and without the fallback; failures do not count for its rate.
    kindest = [finding([(latency, ok, back)] * missing) for latency in (0.001, 5.0) for ok, back in KINDS]
    counted = [each for each in kindest if each.samples >= need]
    assert counted
    if few.outcome is Outcome.VIOLATED:
        assert not any(each.held for each in counted)
    else:
        assert any(each.held for each in counted)
