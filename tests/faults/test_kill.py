"""Signals that end a service: what is counted, and whether it came back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.base.clock import now, wait_for
from chaoskit.faults.kill import Kill

if TYPE_CHECKING:
    from tests.faults.conftest import FaultContext

Ask = Callable[..., tuple[int, dict[str, Any]]]


def kill(**arguments: Any) -> Kill:
    return Kill.model_validate({"service": "worker", **arguments}, context={"services": {"worker"}})


def wait_until(condition: Callable[[], object]) -> None:
    wait_for(condition, what="the service", limit=10)


def test_a_supervised_service_comes_back(context: FaultContext, ask: Ask) -> None:
    """Killed, restarted by its supervisor, ready: with the times of each."""
    worker = context.add_worker(restart="always")
    pid = worker.pid
    with kill().inject(context) as evidence:
        wait_until(lambda: worker.pid not in (None, pid) and worker.ready())
        threading.Event().wait(0.3)
    assert evidence.touched == 1
    assert evidence.unit == "exits"
    (strike,) = evidence.facts["strikes"]
    assert (strike["pid"], strike["exit"], strike["new_pid"]) == (pid, -9, worker.pid)
    assert 0 <= strike["exited_after"] <= strike["back_after"] <= strike["ready_after"] < 5
    assert ask(worker, "/health")[0] == 200


def test_without_supervisor_it_stays_dead_until_the_end(context: FaultContext) -> None:
    """Neither the window's end nor anything else starts it again, but the end of the scenario does."""
    worker = context.add_worker()
    with kill().inject(context) as evidence:
        assert worker.pid is None
    assert worker.pid is None
    (strike,) = evidence.facts["strikes"]
    assert strike["new_pid"] is strike["back_after"] is strike["ready_after"] is None
    for undo in context.held:
        undo()
    assert worker.ready()


def test_started_again_when_the_body_raises(context: FaultContext) -> None:
    """The promise to start it again is made before the signal is sent."""
    worker = context.add_worker()
    with pytest.raises(ZeroDivisionError), kill().inject(context):
        raise ZeroDivisionError
    for undo in context.held:
        undo()
    assert worker.ready()


def test_again_and_again(context: FaultContext) -> None:
    """``every`` strikes what is ready again, as long as the window lasts; ``times`` ends it sooner."""
    worker = context.add_worker(restart="always")
    began = now()
    with kill(every="200ms", times=3).inject(context) as evidence:
        wait_until(lambda: len(context.events("killed")) == 3)
        wait_until(worker.ready)
        threading.Event().wait(0.5)
    assert evidence.touched == evidence.needed == 3
    first, second, third = evidence.facts["strikes"]
    assert second["at"] >= first["at"] + first["ready_after"], "not while it starts: it served nobody then"
    assert third["at"] >= second["at"] + second["ready_after"]
    assert evidence.over is not None
    assert evidence.over == pytest.approx(began + third["at"], abs=0.1)
    assert len({strike["pid"] for strike in evidence.facts["strikes"]}) == 3
    assert worker.ready(), "after the third it was left alone"


def test_term(context: FaultContext) -> None:
    """Any deadly signal; an exit that comes just after the window's end is waited for."""
    context.add_worker()
    with kill(signal="TERM").inject(context) as evidence:
        pass
    assert evidence.touched == 1
    assert evidence.facts["signal"] == "TERM"
    assert evidence.facts["strikes"][0]["exit"] == -15


def test_nobody_to_kill(context: FaultContext) -> None:
    """A service that is dead already is not touched."""
    worker = context.add_worker()
    worker.kill()
    with kill().inject(context) as evidence:
        pass
    assert (evidence.touched, evidence.facts["strikes"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"signal": "STOP"}, "'KILL', 'TERM'"),
        ({"times": 3}, "several times needs to know how often: every"),
        ({"times": 0}, "greater than or equal to 1"),
        ({"every": 2}, "2 is not a duration"),
        ({"every": "10ms"}, "every is at least 100ms"),
        ({"service": "wroker"}, "unknown service 'wroker'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    """Refused at load."""
    with pytest.raises(ValidationError, match=message):
        kill(**arguments)


def test_good_arguments() -> None:
    """As in a scenario."""
    fault = kill(signal="ABRT", every="2s", times=2)
    assert (fault.target, fault.every) == ("worker", 2.0)
