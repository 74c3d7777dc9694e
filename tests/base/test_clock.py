"""Waiting: never too short, never longer than its limit, and a time-out that says what was awaited."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from chaoskit.base.clock import now, sleep_until, wait_for
from chaoskit.base.errors import BrokenError, TimeoutExpired


@pytest.mark.parametrize("event", [None, threading.Event()])
def test_a_sleep_is_never_too_short(event: threading.Event | None) -> None:
    """The moment has come when it returns; a moment that is over does not wait."""
    moment = now() + 0.05
    assert sleep_until(moment, event)
    assert now() >= moment
    assert sleep_until(moment - 10, event)
    assert now() < moment + 5


def test_a_sleep_can_be_cancelled() -> None:
    """It returns at once, and says so."""
    cancelled = threading.Event()
    threading.Timer(0.05, cancelled.set).start()
    started = now()
    assert not sleep_until(started + 60, cancelled)
    assert now() - started < 30
    assert not sleep_until(now() + 60, cancelled)


def test_waiting_gives_what_came() -> None:
    """The first true answer; an answer that is there at once needs no wait."""
    answers = iter([None, 0, "", "found", "later"])
    assert wait_for(lambda: next(answers), what="an answer", limit=10, every=0.001) == "found"
    assert wait_for(lambda: 42, what="nothing", limit=0) == 42


def test_a_wait_that_takes_too_long() -> None:
    """The error says what, how long, what was seen last, and what to do. It breaks a scenario."""
    started = now()
    with pytest.raises(TimeoutExpired) as caught:
        wait_for(
            lambda: None,
            what="the port",
            limit=0.05,
            every=0.01,
            last_seen=lambda: "refused",
            hint="Is it up?",
        )
    assert str(caught.value) == "waited 0.05 s for the port; last seen: refused. Is it up?"
    assert 0.05 <= now() - started < 30
    assert isinstance(caught.value, BrokenError)


def test_a_condition_that_fails_is_not_waited_for() -> None:
    """What the condition raises comes through at once."""

    def broken() -> None:
        raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        wait_for(broken, what="x", limit=60)


def test_all_processes_have_one_clock() -> None:
    """Times that another process writes down lie between our own before and after."""
    before = now()
    code = "from chaoskit.base.clock import now; print(now())"
    there = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert before < there < now()
