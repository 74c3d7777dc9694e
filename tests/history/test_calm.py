"""What is calm and what is disturbed: rows made by hand, so that nothing depends on the machine."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.history.calm import AFTERMATH, Calm
from chaoskit.history.rows import Host
from chaoskit.history.windows import Window

STEP = 0.25
QUIET: dict[str, Any] = {"late": 0.0002, "own": 0.4, "foreign": 0.05, "waited": 0.01, "busiest": 0.3}
LOAD: dict[str, Any] = {**QUIET, "late": 0.006, "foreign": 1.5, "waited": 0.8}
FLOOD: dict[str, Any] = {**LOAD, "busiest": 0.95}


def rows(*kinds: dict[str, Any], cores: int = 2) -> list[Host]:
    """One row after the other, from 0 on."""
    return [Host(at=(index + 1) * STEP, seconds=STEP, cores=cores, **kind) for index, kind in enumerate(kinds)]


def test_quiet_time_is_calm() -> None:
    """Nobody took anything worth a word."""
    calm = Calm.of(rows(QUIET, QUIET))
    assert calm.windows == []
    assert calm.slowdown(0.0, 0.5) == 1.0
    assert calm.told(Window(0.0, 0.5), 0.0) == "calm"


def test_a_run_without_rows_is_calm() -> None:
    """Where nobody could look, nothing is excused."""
    assert Calm.of([]).windows == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"foreign": 0.1, "own": 1.9}, "what we burn ourselves is no disturbance, however late the timer is"),
        ({"late": 0.0003, "waited": 0.02}, "what nobody felt is no disturbance, however much others took"),
    ],
)
def test_taken_and_felt_belong_together(change: dict[str, Any], why: str) -> None:
    """Either alone says nothing."""
    assert Calm.of(rows({**LOAD, **change})).windows == [], why


@pytest.mark.parametrize("felt", [{"waited": 0.02}, {"late": 0.0003}])
def test_it_is_felt_by_the_timer_or_by_our_threads(felt: dict[str, Any]) -> None:
    """One of the two is enough."""
    assert Calm.of(rows({**LOAD, **felt})).windows


def test_stolen_time_is_taken() -> None:
    """The hypervisor is somebody else, too."""
    calm = Calm.of(rows({**LOAD, "foreign": 0.0, "stolen": 0.9}))
    assert "the hypervisor took 0.9 of 2 processors" in calm.told(Window(0.0, 1.0), 0.0)


def test_on_a_large_machine_more_must_be_taken() -> None:
    """Half a processor of 64 is nobody's trouble."""
    assert Calm.of(rows({**LOAD, "foreign": 0.5}, cores=64)).windows == []
    assert Calm.of(rows({**LOAD, "foreign": 0.5}, cores=2)).windows


def test_what_piled_up_is_worked_off_afterwards() -> None:
    """Disturbed rows are joined, with the time after the last."""
    calm = Calm.of(rows(QUIET, LOAD, QUIET, LOAD, QUIET, QUIET, QUIET))
    assert calm.windows == [Window(STEP, 4 * STEP + AFTERMATH)]
    assert calm.calm(0.1)
    assert not calm.calm(4 * STEP + AFTERMATH - 0.01)
    assert calm.calm(4 * STEP + AFTERMATH)


def test_the_slowdown_is_that_of_our_processor_time() -> None:
    """0.4 s of work with 0.8 s of waiting took three times as long."""
    calm = Calm.of(rows(LOAD, QUIET, QUIET, QUIET, QUIET))
    assert calm.slowdown(0.0, 0.1) == pytest.approx(3.0)
    assert calm.slowdown(1.0, 1.1) == 1.0


@pytest.mark.parametrize(
    "change", [{"busiest": 0.8}, {"late": 0.06}, {"busiest": None, "waited": None, "late": 0.012}, {"own": 0.0}]
)
def test_beyond_a_point_nothing_bounds_it(change: dict[str, Any]) -> None:
    """Work that queues up, or a kernel that does not tell."""
    assert Calm.of(rows({**LOAD, **change})).slowdown(0.0, 0.1) == inf


def test_others_keep_the_disk_busy() -> None:
    """Their bytes, and somebody who waits."""
    disk = {**QUIET, "io_pressure": 0.5, "foreign_disk": 50e6, "own_disk": 1e6}
    calm = Calm.of(rows(disk))
    assert calm.told(Window(0.0, 1.0), 0.0) == "others kept the disk busy from +0.0 s to +0.2 s"
    assert calm.slowdown(0.0, 0.1) == inf


@pytest.mark.parametrize(("foreign", "disturbed"), [(6e6, False), (9e6, True)])
def test_the_journal_of_what_we_write_is_ours(foreign: float, disturbed: bool) -> None:
    """The file system writes it in nobody's name, up to four times as much, and some seconds later."""
    wrote = {**QUIET, "io_pressure": 0.1, "own_disk": 4e6}
    journal = {**QUIET, "io_pressure": 0.5, "foreign_disk": foreign}
    assert bool(Calm.of(rows(wrote, *[QUIET] * 8, journal, journal)).windows) is disturbed


def test_it_says_who_took_what_and_when() -> None:
    """Seconds from a moment that the reader knows."""
    calm = Calm.of(rows(QUIET, QUIET, LOAD, LOAD, QUIET))
    assert calm.told(Window(0.0, 9.0), 0.5) == "others took 1.5 of 2 processors from +0.0 s to +0.5 s"


@given(
    st.lists(st.sampled_from([QUIET, LOAD, FLOOD]), max_size=40),
    st.floats(0.0, 10.0),
    st.floats(0.0, 3.0),
)
def test_calm_and_slowdown_agree(kinds: list[dict[str, Any]], start: float, length: float) -> None:
    """Something is slowed down exactly where it meets disturbed time, without bound where it meets a flood."""
    calm = Calm.of(rows(*kinds))
    meets = [each for each in calm.disturbed if each.window.start <= start + length and each.window.end > start]
    assert list(calm.during(start, start + length)) == meets
    slowdown = calm.slowdown(start, start + length)
    assert (slowdown == 1.0) == (not meets)
    assert (slowdown == inf) == any(each.overwhelmed for each in meets)
    assert calm.calm(start) or any(start in each.window for each in meets)


def test_a_look_that_was_long_in_coming_disturbs_all_its_time() -> None:
    """The probe itself had no processor for ten seconds."""
    calm = Calm.of([Host(at=10.0, seconds=10.0, cores=2, **FLOOD)])
    assert calm.overwhelmed(Window(5.0, 5.1))
    assert not calm.overwhelmed(Window(10.6, 11.0))


@given(st.lists(st.sampled_from([QUIET, LOAD, FLOOD]), min_size=1, max_size=30), st.floats(0, 6), st.floats(0.01, 6))
def test_what_is_lost_is_no_more_than_there_was(kinds: list[dict[str, Any]], start: float, length: float) -> None:
    """All that was overwhelmed, which is what is not free; of the rest, what the slowdown took."""
    calm = Calm.of(rows(*kinds))
    end = start + length
    overwhelmed, slowed = calm.lost(start, end)
    free = calm.free(start, end)
    assert overwhelmed + sum(each.length for each in free) == pytest.approx(length)
    assert calm.progress(start, end) == pytest.approx(length - overwhelmed - slowed)
    assert all(not calm.overwhelmed(Window(each.start + 1e-6, each.end - 1e-6)) for each in free if each.length > 1e-5)
    if not calm.during(start, end):
        assert (overwhelmed, slowed, free) == (0, 0, [Window(start, end)])
