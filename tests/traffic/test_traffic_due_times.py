"""The schedule as a pure function: spacing, ramps, Poisson arrivals, bursts."""

from __future__ import annotations

import random
from itertools import islice, pairwise
from typing import Any

import pytest

from chaoskit.traffic.schedule import due_times
from chaoskit.traffic.spec import Operation, Stream


def times(own_rate: float = 0.0, seed: int = 1, **stream: Any) -> list[float]:
    """At most 100,000 due times of a stream whose operation has ``own_rate``."""
    stream.setdefault("start", 100.0)
    made = Stream(id="s", op="o", **stream)
    return list(islice(due_times(made, own_rate, "constant", random.Random(seed)), 100_000))


def test_constant_spacing_never_drifts() -> None:
    """Request k is due exactly k/rate after the start, also after an hour's worth of them."""
    due = times(40.0, until=1e9)
    assert due[0] == 100.0
    assert due[99_999] == pytest.approx(100.0 + 99_999 / 40, abs=1e-9)


def test_until_is_exclusive() -> None:
    """One second at 40/s is 40 requests, not 41."""
    assert len(times(40.0, until=101.0)) == 40
    assert len(times(5.0, rate=40.0, until=101.0)) == 40


def test_poisson_mean_and_spread() -> None:
    """Gaps have the mean 1/rate and, unlike constant ones, about the same deviation."""
    due = times(rate=50.0, until=300.0, arrival="poisson")
    gaps = [later - earlier for earlier, later in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.02, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.1)
    assert due == times(rate=50.0, until=300.0, arrival="poisson")
    assert due != times(rate=50.0, until=300.0, arrival="poisson", seed=2)


@pytest.mark.parametrize(("start", "end"), [(0.0, 100.0), (100.0, 0.0), (20.0, 80.0)])
def test_ramp(start: float, end: float) -> None:
    """A ramp sends the mean rate over its length, and the local rate follows the line."""
    due = times(rate=start, until=110.0, rate_to=end)
    assert len(due) == pytest.approx((start + end) / 2 * 10, abs=2)
    first_half = sum(moment < 105.0 for moment in due)
    assert first_half == pytest.approx((start + (start + end) / 2) / 2 * 5, abs=2)


def test_burst_is_all_at_once() -> None:
    """A count without a rate is due at the start, whatever the operation's own rate."""
    assert times(5.0, count=30) == [100.0] * 30


def test_no_rate_no_count_is_refused() -> None:
    """An operation driven by bursts only cannot run a stream without a count."""
    with pytest.raises(ValueError, match="has no rate"):
        times(until=110.0)


@pytest.mark.parametrize(
    "wrong",
    [{"rate": -1.0}, {"rate_to": 5.0}, {"until": 99.0}, {"count": -1}],
)
def test_contradictory_streams_are_refused(wrong: dict[str, Any]) -> None:
    """Mistakes are found when the stream is made, with its id."""
    with pytest.raises(ValueError, match="'s'"):
        Stream(id="s", op="o", start=100.0, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "http://x", "python": "a:b"},
        {"url": "http://x", "json": {}, "body": "x"},
        {"url": "http://x", "rate": -1.0},
        {"url": "http://x", "timeout": 0.0},
        {"url": "http://x", "copies": 0},
        {"python": "a:b", "json": [1]},
    ],
)
def test_contradictory_operations_are_refused(wrong: dict[str, Any]) -> None:
    """Mistakes are found when the operation is made, with its name."""
    with pytest.raises(ValueError, match="'o'"):
        Operation(name="o", **wrong)
