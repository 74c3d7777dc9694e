"""The parts that need no process: settings, sliding counts, the breaker, the retry budget and policies."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(clock, **more):
    """A breaker with the shop's figures."""
    from shop.breaker import Breaker

    figures = {"ratio": 0.25, "min_calls": 20, "window": 2.0, "probe_every": 1.0, "good_probes": 2}
    return Breaker(clock=clock, **figures | more)


def call(breaker, good):
    """One call through the breaker; gives "good", "bad" or "rejected"."""
    from shop.breaker import BreakerOpen

    try:
        with breaker.call(OSError):
            if not good:
                raise OSError
    except BreakerOpen:
        return "rejected"
    except OSError:
        return "bad"
    return "good"


def test_breaker_opens_on_the_ratio_and_not_before_enough_calls():
    """24 % of failures, or 100 % of 19 calls, keep it closed; 25 % of 20 open it."""
    from shop.breaker import CLOSED, OPEN

    for failures, calls, state in ((19, 19, CLOSED), (24, 100, CLOSED), (5, 20, OPEN), (25, 100, OPEN)):
        tested = breaker(Clock())
        for number in range(calls):
            call(tested, good=number < calls - failures)
        assert tested.state == state, (failures, calls)


def test_breaker_forgets_what_left_the_window():
    """Failures older than the window do not count."""
    clock = Clock()
    tested = breaker(clock)
    for _ in range(19):
        call(tested, good=False)
    clock.now += 2.3
    assert call(tested, good=False) == "bad"
    assert tested.state == 0


def test_breaker_probes_and_closes_after_two_good_ones():
    """While open one call a second passes; a bad probe keeps it open, two good ones in a row close it."""
    clock, seen = Clock(), []
    tested = breaker(clock, on_change=seen.append)
    for _ in range(20):
        call(tested, good=False)
    passed = []
    for tenth in range(1, 61):
        clock.now = 1000.0 + tenth / 10
        if call(tested, good=tenth > 30) != "rejected":
            passed.append(tenth)
    assert [tenth for tenth in passed if tenth <= 50] == [10, 20, 30, 40, 50]
    assert passed[5:] == [51, 52, 53, 54, 55, 56, 57, 58, 59, 60]
    assert seen == [2, 1, 0]


def test_sliding_count_drops_what_is_older_than_its_window():
    """Counts leave after the window, whatever the gaps between calls."""
    from shop.sliding import SlidingCount

    clock = Clock()
    count = SlidingCount(10.0, clock=clock)
    for _ in range(12):
        count.add()
        clock.now += 1.0
    assert 9 <= count.total() <= 10
    clock.now += 500.0
    assert count.total() == 0


def test_retry_budget_bounds_retries_by_calls():
    """A fifth of the calls, and the floor on top."""
    from shop.retries import RetryBudget

    budget = RetryBudget(ratio=0.2, min_per_s=0.3)
    for _ in range(100):
        budget.note_call()
    assert sum(budget.spend() for _ in range(100)) == 23


def test_bounded_gaps_double_and_are_spread():
    """On average each gap is twice the one before, and no two callers wait alike."""
    from shop.retries import policy_for
    from shop.settings import read

    gap = policy_for(read("orders", {})).gap
    first, second = [gap(1) for _ in range(500)], [gap(2) for _ in range(500)]
    assert statistics.mean(second) / statistics.mean(first) == pytest.approx(2, rel=0.1)
    assert statistics.stdev(first) / statistics.mean(first) > 0.1


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("ORDERS_POOL", "deffered", "one of hardened, deferred-release, poisoned"),
        ("BREAKER", "yes", "one of on, off"),
        ("DB_POOL_SIZE", "0", ">= 1"),
        ("BREAKER_RATIO", "25%", "float"),
    ],
)
def test_an_unknown_value_is_refused_with_what_is_legal(name, value, legal):
    """The text names the variable, the value and the legal ones."""
    from shop.settings import SettingsError, read

    with pytest.raises(SettingsError, match=name) as caught:
        read("orders", {name: value})
    assert value in str(caught.value)
    assert legal in str(caught.value)


@pytest.mark.parametrize("service", ["orders", "payments", "worker"])
def test_a_bad_setting_ends_the_process_with_status_2(service, rig):
    """One clear line on standard error, no traceback."""
    examples = Path(__file__).parents[2] / "examples"
    done = subprocess.run(
        [sys.executable, "-m", f"shop.{service}"],
        env=os.environ | {"PYTHONPATH": str(examples), "RECOVERY": "maybe"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"{service}: RECOVERY='maybe': one of on, off\n"
