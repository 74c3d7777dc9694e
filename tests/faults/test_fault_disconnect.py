"""A container that is off its network for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from victims import add_process, injected_by_a_killed_run, tell

from chaoskit.base.errors import BrokenError
from chaoskit.faults.disconnect import Disconnect
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext


def reach(service: Service, host: str, **more: object) -> bool:
    """Whether one container can talk to another."""
    return tell(service, "talk", host=host, port=8000, timeout="0.7", **more)["error"] == ""


def test_cut_off(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Nobody reaches it, by name or by its port; then everybody does, at the same address."""
    left, right = contain("left", port=8000), contain("right", ["right", "twin"], port=8000)
    assert reach(left, "right", keep="1")
    pid = right.pid
    with Disconnect(service="right").inject(context) as evidence:
        assert not reach(left, "right")
        assert not reach(left, "right", keep="1")
        with pytest.raises(OSError):
            tell(right, limit=0.5)
        assert right.alive()
    assert tell(right)["error"] == ""
    assert reach(left, "right")
    assert reach(left, "twin")
    assert right.pid == pid
    assert evidence.touched == evidence.facts["cut"] >= 1
    assert evidence.facts["seconds"] > 0.5


def test_nobody_talks(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Cut off, and nobody noticed: not touched."""
    contain()
    with Disconnect(service="victim").inject(context) as evidence:
        pass
    assert (evidence.touched, evidence.facts["cut"], evidence.facts["unroutable"]) == (0, 0, 0)


def test_it_talks_to_others(context: FaultContext, contain: Callable[..., Service]) -> None:
    """What it could not send is counted by its kernel."""
    left, right = contain("left", port=8000), contain("right", port=8000)
    address = next(iter(right.container.inspect()["NetworkSettings"]["Networks"].values()))["IPAddress"]
    with Disconnect(service="left").inject(context) as evidence:
        status, _ = left.container.exec(
            ["python3", "-c", f"import socket; socket.create_connection(('{address}', 8000), 0.3)"]
        )
        assert status != 0
    assert (evidence.facts["cut"], evidence.touched > 0) == (0, True)


def test_killed_meanwhile(context: FaultContext, contain: Callable[..., Service]) -> None:
    """It is on its network again all the same."""
    victim = contain()
    with Disconnect(service="victim").inject(context):
        victim.kill()
    victim.start()
    assert tell(victim)["error"] == ""


def test_undone_from_the_journal_alone(context: FaultContext, contain: Callable[..., Service]) -> None:
    """The sweep connects what a killed run has disconnected; a second time does no harm."""
    victim = contain()
    folder = injected_by_a_killed_run(context, "disconnect", victim, service="victim")
    with pytest.raises(OSError):
        tell(victim, limit=0.5)
    assert [text.split()[0] for text in sweep(folder)] == ["container-network"]
    assert tell(victim)["error"] == ""


def test_refused_on_processes(context: FaultContext) -> None:
    """At load, and by the fault itself, with what to use instead."""
    fault = Disconnect(service="victim")
    refusal = fault.refusal(Setting("embedded", "process"))
    assert (refusal.needs, "use down" in refusal.reason) == ("docker", True)
    assert fault.refusal(Setting("embedded", "docker")) is None
    add_process(context)
    with pytest.raises(BrokenError, match="use down"), fault.inject(context):
        pass
