"""A service that the kernel kills for memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.clock import wait_for
from chaoskit.faults._cgroup import group_of
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults.oom import Oom
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

grouped = pytest.mark.skipif(lacking("cgroups") is not None, reason=str(lacking("cgroups")))


def group(service: Service) -> Path | None:
    assert service.pid is not None
    return group_of(service.pid, "memory")


def eat(service: Service) -> None:
    """Let it take memory, which may be its end."""
    with contextlib.suppress(OSError, HTTPException):
        tell(service, "take", mb=64)


@needs_root
@grouped
def test_process_is_killed_by_the_kernel(context: FaultContext) -> None:
    """It dies of SIGKILL that nobody of us has sent, and may take memory again once it is back."""
    victim = add_process(context, restart="on-failure")
    pid, home, entries = victim.pid, group(victim), len(context.journal.open_entries())
    with Oom(service="victim").inject(context) as evidence:
        eat(victim)
        wait_for(lambda: victim.pid not in (None, pid), what="the supervisor to restart it", limit=10)
        victim.start()
        assert tell(victim, "take", mb=64)["error"] == ""
    assert (evidence.touched, evidence.facts["pid"], evidence.facts["exit"]) == (1, pid, -9)
    assert evidence.facts["killed_after"] >= 0
    assert evidence.facts["limit"] < 64 << 20
    assert group(victim) == home
    assert len(context.journal.open_entries()) == entries


@needs_root
@grouped
def test_process_with_headroom_is_not_killed(context: FaultContext) -> None:
    """What it takes fits in: nothing was touched, and it goes home."""
    victim = add_process(context)
    home = group(victim)
    with Oom(service="victim", headroom="200MB").inject(context) as evidence:
        eat(victim)
    assert (evidence.touched, group(victim), victim.alive()) == (0, home, True)
    assert evidence.facts["killed_after"] is None


@needs_root
@grouped
def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """After a run that was killed the process is home, and may take what it likes."""
    victim = add_process(context)
    home = group(victim)
    folder = injected_by_a_killed_run(context, "oom", victim, service="victim", headroom="200MB")
    left = group(victim)
    assert left != home
    assert [text.split()[0] for text in sweep(folder)] == ["cgroup"]
    assert (group(victim), left.exists()) == (home, False)
    assert tell(victim, "take", mb=64)["error"] == ""


def test_container_is_killed_by_the_kernel(context: FaultContext, contain: Callable[..., Service]) -> None:
    """The daemon tells of the kill; the limit is gone afterwards."""
    victim = contain(restart="on-failure")
    pid = victim.pid
    with Oom(service="victim", headroom="4MB").inject(context) as evidence:
        wait_for(lambda: eat(victim) or victim.pid not in (None, pid), what="its death and return", limit=20)
        victim.start()
    assert evidence.touched >= 1
    assert evidence.facts["exit"] == -9
    assert tell(victim, "take", mb=64)["error"] == ""


def test_container_undone_from_the_journal_alone(context: FaultContext, contain: Callable[..., Service]) -> None:
    """The limit that a killed run has left is lifted by the sweep."""
    victim = contain()
    folder = injected_by_a_killed_run(context, "oom", victim, service="victim", headroom="30MB")
    assert 0 < victim.container.inspect()["HostConfig"]["Memory"] < 100 << 20
    assert [text.split()[0] for text in sweep(folder)] == ["container-limits"]
    assert tell(victim, "take", mb=64)["error"] == ""


def test_arguments() -> None:
    """Headroom is an amount of memory."""
    assert Oom(service="victim", headroom="1MB").headroom == 1e6
    with pytest.raises(ValueError, match="is not a size"):
        Oom(service="victim", headroom="1s")
