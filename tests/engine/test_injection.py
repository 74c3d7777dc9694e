"""Faults at their planned moments: each on its own, all cured, however the scenario ends."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from chaoskit.clock import now, wait_for
from chaoskit.engine.injection import Injection
from chaoskit.faults.base import Evidence
from chaoskit.faults.noop import Noop
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.scenario.model import PlannedFault


class Seen(Noop):
    """Does nothing, and tells when."""

    @contextmanager
    def inject(self, world):
        world.append("injected")
        try:
            yield Evidence(unit="windows", touched=1)
        finally:
            world.append("cured")


def planned(name, fault=None, *, at=0.0, length=60.0):
    """A fault of a timeline."""
    return PlannedFault(name, "noop", fault or Seen(), at, length, ())


def test_each_has_its_window():
    """In any order; one that takes no time is over before one that was begun earlier."""
    history = History()
    zero = now() + 0.05
    faults = [planned("long", length=0.3), planned("late", at=0.1, length=0.05)]
    with Injection(faults, [], history, zero) as injection:
        assert not injection.over(0)
        assert injection.over(10)
    late, long = history.of(r.Fault)
    assert (late.name, long.name) == ("late", "long")
    assert long.planned_start == zero <= long.started <= long.injected
    assert long.ended >= long.planned_end == zero + 0.3
    assert late.planned_start == pytest.approx(zero + 0.1)
    assert (late.touched, late.unit, late.error) == (1, "windows", None)


def test_the_end_of_the_scenario_cures_and_cancels():
    """What is injected is cured at once and written down; what was not begun is never injected."""
    history, world = History(), []
    with Injection([planned("now"), planned("later", at=50)], world, history, now()):
        wait_for(lambda: world, what="the first fault", limit=10)
        left = now()
    assert now() - left < 10
    assert world == ["injected", "cured"]
    assert [fault.name for fault in history.of(r.Fault)] == ["now"]


def test_a_fault_that_breaks_down_is_told():
    """Whatever it raises."""

    class Broken(Noop):
        def inject(self, world):
            raise LookupError("no such thing")

    history = History()
    with Injection([planned("bad", Broken())], None, history, now()) as injection:
        assert injection.over(10)
    (fault,) = history.of(r.Fault)
    assert fault.error == "LookupError: no such thing"
    assert not fault.touched


def test_interrupted_before_all_have_begun(monkeypatch):
    """Those that wait are cancelled, and the reason is told: one that was never started cannot be joined."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "chaoskit-fault-second":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    history, world = History(), []
    faults = [planned("first", at=50), planned("second", at=50), planned("third", at=50)]
    with pytest.raises(RuntimeError, match="can't start new thread"), Injection(faults, world, history, now()):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chaoskit-fault-")]
    assert world == history.of(r.Fault) == []
