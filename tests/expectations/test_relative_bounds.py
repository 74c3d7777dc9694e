"""Bounds that are multiples of what the same figure was in the steady state of the same run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaoskit.expectations._operations import measure
from chaoskit.expectations.after import After
from chaoskit.expectations.during import During
from chaoskit.history import rows as r
from chaoskit.language.expectation import Finding, Outcome

OP = "place-order"


def during(view: Any, metric: str, bound: str) -> Finding:
    """The finding of one bound over the fault."""
    (finding,) = During.model_validate({OP: {metric: bound}}).judge(view)
    return finding


def slow(rehearse: Any, steady: float, fault: float, **more: Any) -> Any:
    """A run whose requests take so many seconds before and from the start of the fault."""
    run = rehearse(**more)
    run.traffic(lambda at: {"latency": steady if at < 0 else fault})
    return run


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [
        ("<= 4x steady", Outcome.HELD),
        ("<= 3.76x steady", Outcome.HELD),
        ("<= 3.74x steady", Outcome.VIOLATED),
        ("<= 3x steady", Outcome.VIOLATED),
        ("< 4x steady", Outcome.HELD),
        (">= 3.5x steady", Outcome.HELD),
        (">= 4x steady", Outcome.VIOLATED),
        ("3.5x..4x steady", Outcome.HELD),
        ("3.8x .. 4x steady", Outcome.VIOLATED),
    ],
)
def test_a_multiple_of_the_steady_figure(rehearse: Any, bound: str, outcome: Outcome) -> None:
    """Of 32 ms, 120 ms are 3.75 times as much."""
    assert during(slow(rehearse, 0.032, 0.12).view(), "p95", bound).outcome is outcome


def test_the_finding_names_both(rehearse: Any) -> None:
    """The limit and the figure, each as a multiple and in its unit."""
    finding = during(slow(rehearse, 0.032, 0.12).view(), "p95", "<= 3x steady")
    assert (finding.expected, finding.seen) == ("<= 3x steady (= 96ms)", "120ms (3.75x)")
    assert finding.id == f"during.{OP}.p95"
    assert finding.path == (OP, "p95")
    assert finding.worst.startswith("worst second: 120ms (3.75x)")
    assert finding.rows


def test_a_range_names_both_limits(rehearse: Any) -> None:
    """In the unit of the figure."""
    finding = during(slow(rehearse, 0.032, 0.12).view(), "max", "0.5x..2x steady")
    assert finding.expected == "0.5x..2x steady (= 16ms..64ms)"


def test_shares_and_rates(rehearse: Any) -> None:
    """Half of all fail: success and throughput are halved, and errors have no multiple of none."""
    run = rehearse()
    run.traffic(lambda at: {"status": 500} if at >= 0 and round(at * 40) % 2 else {})
    for metric in ("success_rate", "throughput"):
        assert during(run.view(), metric, ">= 0.49x steady").outcome is Outcome.HELD
        assert during(run.view(), metric, ">= 0.51x steady").outcome is Outcome.VIOLATED
    finding = during(run.view(), "error_rate", "<= 3x steady")
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen == "the steady figure is 0%, of which there is no multiple; give a bound without it"


def test_the_phase_after(rehearse: Any) -> None:
    """It is compared with the same steady phase."""
    run = rehearse(after=2.0)
    run.traffic(lambda at: {"latency": 0.09 if at >= 11 else 0.03})
    (finding,) = After.model_validate({OP: {"p50": "<= 2x steady"}}).judge(run.view())
    assert (finding.outcome, finding.seen) == (Outcome.VIOLATED, "90ms (3x)")


def test_each_operation_has_its_own_steady_state(rehearse: Any) -> None:
    """What another took does not matter."""
    run = slow(rehearse, 0.03, 0.09)
    run.traffic(lambda _: {"latency": 1.0}, op="other")
    assert during(run.view(), "p95", "<= 2x steady").outcome is Outcome.VIOLATED


def test_what_the_fault_strikes_under_way_is_not_steady(rehearse: Any) -> None:
    """The steady figure is the judge's: with its guard."""
    run = rehearse()
    run.traffic(lambda at: {"latency": 5.0 if at >= -0.5 else 0.03})
    assert during(run.view(), "max", "<= 2x steady").outcome is Outcome.VIOLATED


def test_too_few_steady_samples_prove_nothing(rehearse: Any) -> None:
    """With what is needed, less the one that the fault struck; of a service that would be far beyond as well."""
    run = rehearse(steady=2.0)
    run.traffic(lambda at: {"latency": 0.03 if at < 0 else 1.0})
    finding = during(run.view(), "p99", "<= 2x steady")
    assert finding.outcome is Outcome.VACUOUS
    assert finding.seen == "the steady phase has 79 samples to compare with; 100 are needed"


def test_without_a_steady_phase(rehearse: Any) -> None:
    """Nothing to compare with."""
    run = rehearse(steady=0.0)
    run.traffic()
    assert during(run.view(), "mean", "<= 2x steady").outcome is Outcome.VACUOUS


def test_too_few_under_the_fault(rehearse: Any) -> None:
    """The bound that is made of the steady figure needs its samples like any other."""
    run = rehearse(fault=1.0)
    run.traffic()
    finding = during(run.view(), "success_rate", ">= 0.99x steady")
    assert (finding.outcome, finding.seen) == (Outcome.VACUOUS, "100% (1x) on 40 samples; 100 are needed")


def disturb(run: Any, start: float, end: float, *, own: float = 0.5, waited: float = 0.5) -> None:
    """Somebody else takes of the machine: with these, what took 60 ms would have taken 30 ms at best."""
    for index in range(round((end - start) / 0.25)):
        at = run.origin + start + (index + 1) * 0.25
        run.add(
            r.Host(
                at=at, seconds=0.25, cores=2, late=0.005, stolen=0.0, foreign=1.0, own=own, waited=waited, busiest=0.2
            )
        )  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [
        ("<= 4x steady", Outcome.HELD),
        ("<= 1.5x steady", Outcome.INCONCLUSIVE),
        ("<= 0.9x steady", Outcome.VIOLATED),
        ("0.9x..1.1x steady", Outcome.INCONCLUSIVE),
        ("1.4x..1.5x steady", Outcome.INCONCLUSIVE),
        ("2.5x..3x steady", Outcome.VIOLATED),
    ],
)
def test_a_disturbed_steady_phase_widens_no_limit(rehearse: Any, bound: str, outcome: Outcome) -> None:
    """60 ms under the fault, and 60 ms in a steady phase that may have been 30 ms: once as much, or twice."""
    run = slow(rehearse, 0.06, 0.06)
    disturb(run, -5.0, -0.5)
    assert during(run.view(), "p50", bound).outcome is outcome


def test_what_is_in_doubt_is_the_steady_figure(rehearse: Any) -> None:
    """It is told what that may have been, and how many times as much the figure then is."""
    run = slow(rehearse, 0.06, 0.06)
    disturb(run, -5.0, -0.5)
    seen = during(run.view(), "p50", "<= 1.5x steady").seen
    assert seen.startswith("60ms (1x); but for others the steady 60ms may have been 30ms, of which it is 2x, while ")


def test_calm_steady_time_is_enough(rehearse: Any) -> None:
    """What was disturbed is left out where the rest will do."""
    run = rehearse()
    run.traffic(lambda at: {"latency": 0.3 if at < -3 else 0.03 if at < 0 else 0.2})
    disturb(run, -5.0, -3.5)
    assert during(run.view(), "max", "<= 3x steady").outcome is Outcome.VIOLATED


latencies = st.lists(st.floats(0.002, 1.0), min_size=10, max_size=30)


@given(latencies, latencies, st.integers(1, 500), st.sampled_from(("p50", "mean", "max")))
@example([0.01] * 10, [0.03] * 10, 300, "max")
def test_held_exactly_within_the_multiple(
    rehearse: Any, before: list[float], later: list[float], percent: int, metric: str
) -> None:
    """Held exactly when figure <= factor * steady figure, and the other way round for >=."""
    run = rehearse()
    steady = [run.request(-4 + index / 20, seq=index, latency=took) for index, took in enumerate(before)]
    fault = [run.request(index / 20, seq=100 + index, latency=took) for index, took in enumerate(later)]
    factor, usual, figure = percent / 100, measure(steady, metric, 1.0), measure(fault, metric, 1.0)
    close = abs(figure - factor * usual) < 1e-8
    finding = during(run.view(), metric, f"<= {factor}x steady")
    assert close or finding.outcome is (Outcome.HELD if figure <= factor * usual else Outcome.VIOLATED)
    finding = during(run.view(), metric, f">= {factor}x steady")
    assert close or finding.outcome is (Outcome.HELD if figure >= factor * usual else Outcome.VIOLATED)
