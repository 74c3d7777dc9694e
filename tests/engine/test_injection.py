"""Faults at their planned moments: each on its own, all cured, however the scenario ends."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.engine.injection import Injection
from chaoskit.faults.noop import Noop
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.fault import Evidence
from chaoskit.language.planned import PlannedFault


class Seen(Noop):
    """Does nothing, and tells when."""

    @contextmanager
    def inject(self, context):
        context.append("injected")
        try:
            yield Evidence(unit="windows", touched=1)
        finally:
            context.append("cured")


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
    late, long = history.rows(r.Fault)
    assert (late.name, long.name) == ("late", "long")
    assert long.planned_start == zero <= long.started <= long.injected
    assert long.ended >= long.planned_end == zero + 0.3
    assert late.planned_start == pytest.approx(zero + 0.1)
    assert (late.touched, late.unit, late.error) == (1, "windows", None)


def test_the_end_of_the_scenario_cures_and_cancels():
    """What is injected is cured at once and written down; what was not begun is never injected."""
    history, context = History(), []
    with Injection([planned("now"), planned("later", at=50)], context, history, now()):
        wait_for(lambda: context, what="the first fault", limit=10)
        left = now()
    assert now() - left < 10
    assert context == ["injected", "cured"]
    assert [fault.name for fault in history.rows(r.Fault)] == ["now"]


def test_a_fault_that_breaks_down_is_told():
    """Whatever it raises."""

    class Broken(Noop):
        def inject(self, context):
            raise LookupError("no such thing")

    history = History()
    with Injection([planned("bad", Broken())], None, history, now()) as injection:
        assert injection.over(10)
    (fault,) = history.rows(r.Fault)
    assert fault.error.startswith("LookupError: no such thing (")
    assert "test_injection.py:" in fault.error
    assert not fault.touched


def test_interrupted_before_all_have_begun(monkeypatch):
    """Those that wait are cancelled, and the reason is told: one that was never started cannot be joined."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "chaoskit-fault-second":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    history, context = History(), []
    faults = [planned("first", at=50), planned("second", at=50), planned("third", at=50)]
    with pytest.raises(RuntimeError, match="can't start new thread"), Injection(faults, context, history, now()):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chaoskit-fault-")]
    assert context == history.rows(r.Fault) == []
