"""A service that lives at another time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, needs_root, tell

from chaoskit.base.errors import BrokenError
from chaoskit.faults._host_capabilities import faketime_library, lacking
from chaoskit.faults.clock import Clock
from chaoskit.language.run_target import Setting

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

with_library = pytest.mark.skipif(lacking("faketime") is not None, reason=str(lacking("faketime")))


def offset(service: Service) -> float:
    """By how much its time differs from ours."""
    return tell(service)["time"] - time.time()


@with_library
@pytest.mark.parametrize(("way", "seconds"), [("ahead", 7200.0), ("behind", -7200.0)])
def test_process_lives_at_another_time(context: FaultContext, way: str, seconds: float) -> None:
    """It says so itself, its time limits still work, and afterwards it is on time again."""
    victim = add_process(context, env={"MARK": "kept"})
    pid, port = victim.pid, victim.port
    with Clock(service="victim", **{way: "2h"}).inject(context) as evidence:
        assert offset(victim) == pytest.approx(seconds, abs=5)
        assert tell(victim, "talk", host=victim.host, port=victim.port)["took"] < 5
    assert offset(victim) == pytest.approx(0, abs=5)
    assert evidence.touched >= 1
    assert evidence.facts["offset"] == seconds
    assert evidence.facts["seen"] == pytest.approx(seconds, abs=2)
    assert (evidence.facts["pid"], victim.port) == (pid, port)
    assert evidence.facts["new_pid"] not in (pid, victim.pid)
    assert victim.spec.env == {"MARK": "kept"}


@with_library
def test_a_service_that_ignores_the_library(context: FaultContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was restarted, but at the same time as everybody: not touched."""
    victim = add_process(context)
    monkeypatch.setattr(Clock, "_environment", lambda self, library, preloaded: {"FAKETIME": "+7200"})
    with Clock(service="victim", ahead="2h").inject(context) as evidence:
        pass
    assert evidence.touched == 0
    assert offset(victim) == pytest.approx(0, abs=5)


@with_library
def test_on_time_again_when_the_body_raises(context: FaultContext) -> None:
    """The exception goes on after the second restart."""
    victim = add_process(context)
    with pytest.raises(ZeroDivisionError), Clock(service="victim", ahead="2h").inject(context):
        raise ZeroDivisionError
    assert offset(victim) == pytest.approx(0, abs=5)


@with_library
def test_a_restart_that_fails_is_broken(context: FaultContext) -> None:
    """And the scenario's end puts the true settings back."""
    victim = add_process(context)
    victim.spec = victim.spec.model_copy(update={"command": ["python", "-c", "raise SystemExit('no luck')"]})
    with pytest.raises(BrokenError, match="no luck"), Clock(service="victim", ahead="2h").inject(context):
        pass
    assert victim.spec.env == {}


@needs_root
def test_container_lives_at_another_time(context: FaultContext, contain: Callable[..., Service]) -> None:
    """By the library that its image brings."""
    victim = contain()
    if faketime_library(Path(f"/proc/{victim.pid}/root")) is None:
        pytest.skip("the image brings no libfaketime")
    with Clock(service="victim", ahead="2h").inject(context) as evidence:
        assert offset(victim) == pytest.approx(7200, abs=5)
    assert offset(victim) == pytest.approx(0, abs=5)
    assert evidence.touched >= 1


def test_arguments() -> None:
    """One way, and some way."""
    assert Clock(service="victim", behind="10m").target == "victim"
    for wrong in ({}, {"ahead": "1h", "behind": "1h"}):
        with pytest.raises(ValidationError, match="either ahead or behind"):
            Clock(service="victim", **wrong)
    with pytest.raises(ValidationError, match="0s changes nothing"):
        Clock(service="victim", ahead="0s")


def test_refused_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setenv("FAKETIME_LIBRARY", "/nowhere/libfaketimeMT.so.1")
    from chaoskit.faults import _host_capabilities

    _host_capabilities._faketime.cache_clear()
    refusal = Clock(service="victim", ahead="1h").refusal(Setting("embedded", "process"))
    _host_capabilities._faketime.cache_clear()
    assert (refusal.needs, "libfaketime" in refusal.reason) == ("faketime", True)
