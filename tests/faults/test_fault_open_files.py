"""A service that runs out of file handles."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, tell

from chaoskit.faults.open_files import OpenFiles
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext


def limit(service: Service) -> int:
    assert service.pid is not None
    return resource.prlimit(service.pid, resource.RLIMIT_NOFILE)[0]


def test_process_runs_out(context: FaultContext) -> None:
    """EMFILE inside; afterwards the same process opens as many as it likes."""
    victim = add_process(context)
    pid, before = victim.pid, limit(victim)
    with OpenFiles(service="victim", spare=10).inject(context) as evidence:
        assert limit(victim) < before
        assert tell(victim, "files", n=50)["error"] == "EMFILE"
    assert (limit(victim), victim.pid) == (before, pid)
    assert tell(victim, "files", n=50)["error"] == ""
    assert 9 <= evidence.touched <= 11
    assert evidence.facts["exhausted"] > 0
    assert evidence.facts["processes"] >= 1


def test_enough_for_what_it_does(context: FaultContext) -> None:
    """It got by with what was left to it, and the evidence says so."""
    victim = add_process(context)
    with OpenFiles(service="victim", limit=200).inject(context) as evidence:
        assert tell(victim, "files", n=20)["error"] == ""
    assert 20 <= evidence.touched < 25
    assert evidence.facts["exhausted"] == 0


def test_nobody_opens_anything(context: FaultContext) -> None:
    """A table that we have left no room in proves nothing as long as nobody wants to use it."""
    add_process(context)
    with OpenFiles(service="victim", spare=0).inject(context) as evidence:
        pass
    assert evidence.touched == 0


def test_killed_meanwhile(context: FaultContext) -> None:
    """The cure does not mind that it is gone."""
    victim = add_process(context, restart="on-failure")
    before = limit(victim)
    with OpenFiles(service="victim", limit=100).inject(context):
        victim.kill()
    victim.start()
    assert limit(victim) == before


def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """The sweep gives back the limit that a killed run has lowered."""
    victim = add_process(context)
    before = limit(victim)
    folder = injected_by_a_killed_run(context, "open_files", victim, service="victim", limit=100)
    assert limit(victim) == 100
    assert {text.split()[0] for text in sweep(folder)} == {"rlimit"}
    assert limit(victim) == before


def test_container_runs_out(context: FaultContext, contain: Callable[..., Service]) -> None:
    """The same by its number on this machine."""
    victim = contain()
    before = limit(victim)
    with OpenFiles(service="victim", spare=10).inject(context) as evidence:
        assert tell(victim, "files", n=50)["error"] == "EMFILE"
    assert limit(victim) == before
    assert evidence.touched > 0


def test_arguments() -> None:
    """One of two ways to say how many."""
    assert OpenFiles(service="victim", limit=64).target == "victim"
    for wrong in ({}, {"spare": 1, "limit": 64}):
        with pytest.raises(ValidationError, match="either spare or limit"):
            OpenFiles(service="victim", **wrong)
