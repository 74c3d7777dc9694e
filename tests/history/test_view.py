"""What an expectation sees of a history: phases, windows, traffic, samples, percentiles."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.windows import Window, inside, merge, percentile
from chaoskit.language.view import OperationFacts, View


def request(op: str, intended: float) -> r.Request:
    """A request."""
    return r.Request(
        op=op, seq=0, stream="base", intended=intended, sent=intended, ended=intended, status=200, error=None,
        ok=True, fallback=False, id="",
    )  # fmt: skip


def fault(started: float, ended: float) -> r.Fault:
    """A fault."""
    return r.Fault(
        name="f", kind="noop", target="", planned_start=started, planned_end=ended, started=started, injected=started,
        ended=ended, touched=1, unit="x",
    )  # fmt: skip


def seen(*rows: r.Row) -> View:
    """A view of these rows."""
    history = History()
    for row in rows:
        history.add(row)
    return View(history, {"a": OperationFacts(1, 1), "idle": OperationFacts(1, 1)})


def test_requests_by_operation_time_and_window() -> None:
    """Sorted by the time they were meant to be sent; a window includes its start and not its end."""
    view = seen(request("a", 3), request("b", 2), request("a", 1))
    assert [row.intended for row in view.requests("a")] == [1, 3]
    assert [row.intended for row in view.requests()] == [1, 3, 2]
    assert [row.intended for row in view.requests("a", [Window(1, 3)])] == [1]
    assert view.requests("idle") == view.requests("nosuch") == []
    assert view.requests("a", []) == []


def test_faults_and_their_windows() -> None:
    """Overlapping windows are one; the first start and the last end frame them."""
    view = seen(fault(5, 6), fault(1, 3), fault(2, 4))
    assert [row.started for row in view.faults] == [1, 2, 5]
    assert view.fault_windows == [Window(1, 4), Window(5, 6)]
    assert (view.first_fault, view.last_fault_end) == (1, 6)
    assert (seen().first_fault, seen().last_fault_end) == (None, None)


def test_samples_with_and_without_labels() -> None:
    """A name without labels is the sum over all label sets, scrape by scrape; an exact name wins."""
    rows = [
        r.Sample(service="s", name=name, at=at, value=value)
        for at, name, value in [
            (1, 'x{a="1"}', 1),
            (1, 'x{a="2"}', 2),
            (2, 'x{a="1"}', 5),
            (1, "xy", 9),
            (1, "y", 7),
        ]
    ]
    view = seen(*rows, r.Sample(service="other", name="x", at=1, value=99))
    assert [(row.at, row.value) for row in view.samples("s", "x")] == [(1, 3), (2, 5)]
    assert [row.value for row in view.samples("s", 'x{a="2"}')] == [2]
    assert [row.value for row in view.samples("s", "y")] == [7]
    assert view.samples("s", "nosuch") == []
    assert view.metric_names("s") == ["x", "xy", "y"]


WINDOWS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: Window(min(pair), max(pair))),
    max_size=6,
)


@given(windows=WINDOWS, moment=st.integers(0, 20))
def test_merging_windows_keeps_their_time(windows: list[Window], moment: int) -> None:
    """The merged windows are disjoint, in order, and hold the same moments."""
    merged = merge(windows)
    assert inside(moment, merged) is inside(moment, windows) is any(moment in window for window in windows)
    assert all(first.end < second.start for first, second in pairwise(merged))


@given(
    seconds=st.lists(st.floats(1e-5, 100), min_size=1, max_size=50),
    percent=st.sampled_from([50, 75, 90, 95, 99, 99.9]),
)
def test_percentiles_are_close_to_a_value_that_was_seen(seconds: list[float], percent: float) -> None:
    """Never below the minimum nor above the maximum but for the histogram's 0.1 %, and near a recorded value."""
    value = percentile(seconds, percent)
    assert min(abs(value - one) / one for one in seconds) < 0.11 or value <= 2e-5
    assert min(seconds) * 0.9 - 1e-6 <= value <= max(seconds) * 1.001 + 1e-6


def test_percentiles_of_many_values() -> None:
    """As other implementations say, to three digits; a value beyond an hour counts as an hour."""
    values = [number / 1000 for number in range(1, 2001)]
    assert percentile(values, 50) == pytest.approx(statistics.median(values), rel=2e-3)
    assert percentile(values, 99) == pytest.approx(1.98, rel=2e-3)
    assert percentile([7200.0], 50) == pytest.approx(3600, rel=2e-3)
    with pytest.raises(ValueError, match="a percentile of nothing"):
        percentile([], 50)
