"""A load beside a service."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.clock import wait_for
from chaoskit.faults._cgroup import group_of
from chaoskit.faults.stress import Stress
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext


def load(context: FaultContext) -> list[psutil.Process]:
    """The processes that burn or hold below this test's folder."""
    marks = f"CHAOSKIT_PIDFILE={context.folder}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            if marks in Path(f"/proc/{process.pid}/environ").read_bytes() and "-ISc" in process.cmdline():
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def test_cpu_is_burnt_beside_a_process(context: FaultContext) -> None:
    """As many processes as asked, as nice as asked, on its cores, and none afterwards."""
    victim = add_process(context)
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(victim.pid, {core})
    with Stress(service="victim", cpu=2, nice=5).inject(context) as evidence:
        running = load(context)
        nice = psutil.Process(victim.pid).nice() + 5  # they compete with the service, whatever priority that has
        assert [(it.nice(), it.cpu_affinity()) for it in running] == [(nice, [core])] * 2
        wait_for(lambda: sum(it.cpu_times().user for it in running) > 0.2, what="CPU time", limit=20)
    assert load(context) == []
    assert evidence.touched >= 200
    assert evidence.facts == {"cpu_seconds": evidence.touched / 1000, "bytes": 0, "died": 0}


def test_memory_is_held_beside_a_process(context: FaultContext) -> None:
    """It is there, not only asked for."""
    add_process(context)
    with Stress(service="victim", memory="50MB").inject(context) as evidence:
        assert load(context)[0].memory_info().rss >= 50e6
    assert load(context) == []
    assert evidence.touched >= 50e6
    assert evidence.unit == "bytes"


def test_a_load_that_died(context: FaultContext) -> None:
    """Nothing of it was there at the end: no evidence."""
    add_process(context)
    with Stress(service="victim", memory="20MB").inject(context) as evidence:
        for process in load(context):
            process.kill()
            process.wait(5)
    assert (evidence.touched, evidence.facts["died"]) == (0, 1)


def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """What a killed run has started is ended by the sweep."""
    victim = add_process(context)
    folder = injected_by_a_killed_run(context, "stress", victim, service="victim", cpu=1, memory="20MB")
    assert len(load(context)) == 2
    sweep(folder)
    assert load(context) == []


@needs_root
def test_load_in_a_container(context: FaultContext, contain: Callable[..., Service]) -> None:
    """It runs in the container's control groups, and the container outlives it."""
    victim = contain()
    with Stress(service="victim", cpu=1, memory="20MB").inject(context) as evidence:
        for controller in ("cpu", "memory"):
            assert {group_of(it.pid, controller) for it in load(context)} == {group_of(victim.pid, controller)}
        wait_for(lambda: sum(it.cpu_times().user for it in load(context)) > 0.1, what="CPU time", limit=20)
    assert load(context) == []
    assert tell(victim)["error"] == ""
    assert evidence.touched >= 100


def test_what_would_starve_chaoskit_too_is_refused() -> None:
    """On processes of this machine: no more burn CPU time than there are cores, unless they give way."""
    cores = len(os.sched_getaffinity(0))
    processes = Setting(toxiproxy="embedded", runtime="process")
    assert Stress(service="victim", cpu=cores, memory="1GB").refusal(processes) is None
    assert Stress(service="victim", cpu=cores + 1, nice=19).refusal(processes) is None
    refusal = Stress(service="victim", cpu=cores + 1).refusal(processes)
    assert refusal is not None
    assert (refusal.needs, "starve the traffic generator" in refusal.reason) == ("docker", True)
    in_container = Stress(service="victim", cpu=cores + 1).refusal(Setting(toxiproxy="embedded", runtime="docker"))
    assert in_container is None or in_container.needs == "root"


def test_arguments() -> None:
    """Some load, and not too much of it."""
    assert Stress(service="victim", cpu=1).target == "victim"
    with pytest.raises(ValidationError, match="needs a load"):
        Stress(service="victim")
    with pytest.raises(ValidationError, match="at most 8GiB"):
        Stress(service="victim", memory="9GiB")
    with pytest.raises(ValidationError, match="less than or equal to 64"):
        Stress(service="victim", cpu=65)
