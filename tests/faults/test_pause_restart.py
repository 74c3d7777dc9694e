"""A service that hangs, and one that is restarted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.base.errors import BrokenError
from chaoskit.faults.pause import Pause
from chaoskit.faults.restart import Restart

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_paused(context: FaultContext, ask: Ask) -> None:
    """Connections are accepted and nothing answers; afterwards the same process does; all is in the journal."""
    worker = context.add_worker()
    before = [kind for kind, _ in context.journal.open_entries()]
    with Pause(service="worker").inject(context) as evidence:
        assert [kind for kind, _ in context.journal.open_entries()] == [*before, "signal"]
        with pytest.raises(TimeoutError):
            ask(worker, limit=0.3)
    assert ask(worker)[0] == 200
    assert (evidence.touched, evidence.facts["pid"]) == (1, worker.pid)
    assert 0.3 <= evidence.facts["seconds"] < 5
    assert [kind for kind, _ in context.journal.open_entries()] == before


def test_goes_on_when_the_body_raises(context: FaultContext, ask: Ask) -> None:
    """An exception does not leave it stopped."""
    worker = context.add_worker()
    with pytest.raises(ZeroDivisionError), Pause(service="worker").inject(context):
        raise ZeroDivisionError
    assert ask(worker)[0] == 200


def test_killed_while_paused(context: FaultContext) -> None:
    """The cure does not mind that it is gone, and says so."""
    worker = context.add_worker()
    with Pause(service="worker").inject(context) as evidence:
        worker.kill()
    assert evidence.facts["gone"] is True


def test_nobody_to_pause(context: FaultContext) -> None:
    """A dead service is not touched."""
    context.add_worker().kill()
    with Pause(service="worker").inject(context) as evidence:
        pass
    assert evidence.touched == 0


def test_postgres_with_all_its_sessions(context: FaultContext, postgres: Service) -> None:
    """Sessions are processes of their own; they stand still as well."""
    import psycopg

    context.adopt("db", postgres)
    with psycopg.connect(postgres.url(), autocommit=True) as session, ThreadPoolExecutor(1) as pool:
        with Pause(service="db").inject(context):
            answer = pool.submit(session.execute, "select 1")
            with pytest.raises(TimeoutError):
                answer.result(0.3)
        assert answer.result(5).fetchone() == (1,)


def test_restarted(context: FaultContext, ask: Ask) -> None:
    """Another process answers at the same address when the window ends."""
    worker = context.add_worker()
    pid = worker.pid
    with Restart(service="worker").inject(context) as evidence:
        pass
    status, told = ask(worker)
    assert (status, told["pid"]) == (200, worker.pid)
    assert worker.pid != pid
    assert evidence.touched == 1
    assert (evidence.facts["pid"], evidence.facts["new_pid"], evidence.facts["exit"]) == (
        pid,
        worker.pid,
        -15,
    )
    assert 0 < evidence.facts["seconds"] < 10
    assert evidence.over is not None, "recovery counts from when it was ready, not from the end of the window"


def test_restart_ends_when_the_body_raises(context: FaultContext, ask: Ask) -> None:
    """The service is up again before the exception goes on."""
    worker = context.add_worker()
    with pytest.raises(ZeroDivisionError), Restart(service="worker").inject(context):
        raise ZeroDivisionError
    assert ask(worker)[0] == 200


def test_a_restart_that_fails_is_broken(context: FaultContext) -> None:
    """The service's own words are in the error."""
    worker = context.add_worker()
    worker.spec = worker.spec.model_copy(update={"command": ["python", "-c", "raise SystemExit('no luck')"]})
    with pytest.raises(BrokenError, match="no luck"), Restart(service="worker").inject(context):
        pass


@pytest.mark.parametrize("fault", [Pause, Restart])
def test_arguments(fault: type[Pause | Restart]) -> None:
    """A service of the environment, and nothing else."""
    context = {"services": {"worker"}}
    assert fault.model_validate({"service": "worker"}, context=context).target == "worker"
    with pytest.raises(ValidationError, match="unknown service"):
        fault.model_validate({"service": "other"}, context=context)
    with pytest.raises(ValidationError, match="Extra inputs"):
        fault.model_validate({"service": "worker", "signal": "TERM"}, context=context)
