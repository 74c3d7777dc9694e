"""A service that may use only part of a core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.faults._cgroup import group_of, numbers
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults.cpu import Cpu
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

BUSY = 200
"""Milliseconds of CPU time that a request needs."""

grouped = pytest.mark.skipif(lacking("cgroups") is not None, reason=str(lacking("cgroups")))


def group(service: Service) -> Path | None:
    assert service.pid is not None
    return group_of(service.pid, "cpu")


@needs_root
@grouped
def test_process_gets_its_share_only(context: FaultContext) -> None:
    """The same work takes many times as long, the kernel counts the throttling, and all is as before afterwards."""
    victim = add_process(context)
    home, entries = group(victim), context.journal.open_entries()
    with Cpu(service="victim", quota="10%").inject(context) as evidence:
        inside = group(victim)
        slow = tell(victim, "burn", ms=BUSY)["took"]
    assert inside != home
    assert (group(victim), inside.exists()) == (home, False)
    assert slow > 5 * BUSY / 1000
    assert 5 <= evidence.touched <= evidence.facts["periods"]
    assert evidence.facts["seconds"] > 0.5
    assert context.journal.open_entries() == entries


@needs_root
@grouped
def test_idle_process_is_not_touched(context: FaultContext) -> None:
    """It needs less than its quota: the kernel never throttled it."""
    add_process(context)
    with Cpu(service="victim", quota="100%").inject(context) as evidence:
        pass
    assert evidence.touched == 0


@needs_root
@grouped
def test_restarted_process_is_capped_too(context: FaultContext) -> None:
    """The new process is found and put into the group."""
    victim = add_process(context)
    with Cpu(service="victim", quota="10%").inject(context):
        home = group(victim)
        victim.restart()
        for _ in range(100):
            if group(victim) == home:
                break
            tell(victim, "burn", ms=5)
        assert group(victim) == home


@needs_root
@grouped
def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """A run that was killed leaves its group; the sweep moves the process home and removes it."""
    victim = add_process(context)
    home = group(victim)
    folder = injected_by_a_killed_run(context, "cpu", victim, service="victim", quota="10%")
    left = group(victim)
    assert left != home
    assert [text.split()[0] for text in sweep(folder)] == ["cgroup"]
    assert (group(victim), left.exists()) == (home, False)


def test_container_gets_its_share_only(context: FaultContext, contain: Callable[..., Service]) -> None:
    """By way of the daemon; the limit is told, felt, counted and lifted."""
    victim = contain()
    with Cpu(service="victim", quota="10%").inject(context) as evidence:
        assert victim.container.inspect()["HostConfig"]["CpuQuota"] == 10_000
        slow = tell(victim, "burn", ms=BUSY)["took"]
    assert victim.container.inspect()["HostConfig"]["CpuQuota"] == -1
    before = numbers(group(victim), "cpu.stat")["nr_throttled"]
    tell(victim, "burn", ms=BUSY)
    assert numbers(group(victim), "cpu.stat")["nr_throttled"] == before
    assert slow > 5 * BUSY / 1000
    assert 5 <= evidence.touched <= evidence.facts["periods"]


def test_arguments() -> None:
    """The kernel's smallest quota, and a share."""
    assert Cpu(service="victim", quota="20%").target == "victim"
    with pytest.raises(ValidationError, match="smallest quota is 1%"):
        Cpu(service="victim", quota="0.5%")
    with pytest.raises(ValidationError, match="between 0% and 100%"):
        Cpu(service="victim", quota="200%")


def test_refused_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """On processes; the daemon does it for containers."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    fault = Cpu(service="victim", quota="20%")
    assert fault.refusal(Setting("embedded", "process")).needs == "root"
    assert fault.refusal(Setting("embedded", "docker")) is None
