"""A service that is stopped for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from victims import add_process, tell

from chaoskit.base.errors import BrokenError
from chaoskit.faults.kill import Kill
from chaoskit.faults.pause import Pause
from chaoskit.faults.restart import Restart
from chaoskit.faults.stop import Stop

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext


def test_process_is_away_and_comes_back(context: FaultContext) -> None:
    """Refused while it is stopped, though its supervisor would restart it; then another one at the same address."""
    victim = add_process(context, restart="always")
    pid, port = victim.pid, victim.port
    with Stop(service="victim").inject(context) as evidence:
        assert not victim.alive()
        with pytest.raises(ConnectionRefusedError):
            tell(victim)
    assert tell(victim)["pid"] == victim.pid != pid
    assert victim.port == port
    assert evidence.touched == 1
    assert (evidence.facts["pid"], evidence.facts["new_pid"], evidence.facts["exit"]) == (pid, victim.pid, -15)
    assert evidence.facts["stopped_after"] < 5
    assert evidence.facts["ready_after"] > 0


def test_comes_back_when_the_body_raises(context: FaultContext) -> None:
    """The cure does not ask how the window ended."""
    victim = add_process(context)
    with pytest.raises(ZeroDivisionError), Stop(service="victim").inject(context):
        raise ZeroDivisionError
    assert tell(victim)["error"] == ""


def test_nobody_to_stop(context: FaultContext) -> None:
    """A dead service is not touched, and not brought to life."""
    victim = add_process(context)
    victim.kill()
    with Stop(service="victim").inject(context) as evidence:
        pass
    assert (evidence.touched, victim.alive()) == (0, False)


def test_somebody_else_starts_it(context: FaultContext) -> None:
    """It was not away for the whole window: no evidence."""
    victim = add_process(context)
    with Stop(service="victim").inject(context) as evidence:
        victim.start()
    assert evidence.touched == 0


def test_a_start_that_fails_is_broken(context: FaultContext) -> None:
    """The service's own words are in the error."""
    victim = add_process(context)
    with pytest.raises(BrokenError, match="no luck"), Stop(service="victim").inject(context):
        victim.spec = victim.spec.model_copy(update={"command": ["python", "-c", "raise SystemExit('no luck')"]})


def test_container_is_away_and_comes_back(context: FaultContext, contain: Callable[..., Service]) -> None:
    """The same container, with what it holds."""
    victim = contain()
    tell(victim, "write", path="/kept", size=3)
    before = victim.container.id
    with Stop(service="victim").inject(context) as evidence:
        assert not victim.alive()
        with pytest.raises(OSError):
            tell(victim, limit=0.5)
    assert tell(victim)["error"] == ""
    assert victim.container.id == before
    assert victim.container.exec(["cat", "/kept"]) == (0, "xxx")
    assert evidence.touched == 1


def test_older_faults_act_on_containers(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Kill, pause and restart know services only, wherever they run."""
    victim = contain(restart="on-failure")
    with Pause(service="victim").inject(context) as paused, pytest.raises(TimeoutError):
        tell(victim, limit=0.5)
    assert tell(victim)["error"] == ""
    with Kill(service="victim").inject(context) as killed:
        pass
    victim.start()
    with Restart(service="victim").inject(context) as restarted:
        pass
    assert tell(victim)["error"] == ""
    assert (paused.touched, killed.touched, restarted.touched) == (1, 1, 1)
    assert killed.facts["strikes"][0]["exit"] == -9
