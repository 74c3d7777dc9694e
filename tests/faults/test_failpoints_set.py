"""Faults inside a process: what the failpoint does, that it is switched off, and what counts as a hit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.language.fault import FAULTS

if TYPE_CHECKING:
    from chaoskit.faults._failpoint import FailpointFault
    from tests.faults.conftest import FaultContext

Ask = Callable[..., tuple[int, dict[str, Any]]]

ALL: dict[str, dict[str, Any]] = {
    "panic": {},
    "hang": {},
    "sleep": {"delay": "200ms"},
    "abort": {},
    "exit": {},
    "failpoint": {"terms": 'return("x")'},
}


def make(name: str, **arguments: Any) -> FailpointFault:
    given = {"service": "worker", "at": "orders/place", **arguments}
    fault: FailpointFault = FAULTS.get(name).model_validate(given, context={"services": {"worker"}})
    return fault


@pytest.mark.parametrize(("name", "arguments"), ALL.items())
def test_nothing_passed_by(name: str, arguments: dict[str, Any], context: FaultContext, ask: Ask) -> None:
    """A failpoint that nobody reached has touched nothing; it is off afterwards, also when the body raises."""
    worker = context.add_worker()
    with make(name, **arguments).inject(context) as evidence:
        ask(worker, "/health")
    assert (evidence.touched, evidence.unit) == (0, "hits")
    with pytest.raises(ZeroDivisionError), make(name, **arguments).inject(context):
        raise ZeroDivisionError
    assert context.failpoints("worker").list() == {"orders/place": ""}
    assert ask(worker)[0] == 200


def test_panic(context: FaultContext, ask: Ask) -> None:
    """Each call panics with the message, each is counted, and none does after the window."""
    worker = context.add_worker()
    with make("panic", message='a "poisoned" order').inject(context) as evidence:
        for _ in range(3):
            status, told = ask(worker)
            assert (status, told["text"]) == (500, 'failpoint panic: a "poisoned" order')
    assert ask(worker)[0] == 200
    assert evidence.touched == 3
    assert evidence.facts["deaths"] == []
    assert evidence.facts["processes"] == 1


def test_any_function_by_name(context: FaultContext, ask: Ask) -> None:
    """Code that knows nothing of failpoints, under chaoskit's agent."""
    worker = context.add_worker()
    with make("panic", at="__main__:place", message="boom").inject(context) as evidence:
        assert ask(worker)[1]["text"] == "failpoint panic: boom"
    assert ask(worker)[1]["text"] == "fine"
    assert evidence.touched == 1


def test_switched_off_by_somebody_else(context: FaultContext, ask: Ask) -> None:
    """Then its hits are gone: broken, not vacuous."""
    context.add_worker()
    with pytest.raises(BrokenError, match="the hits cannot be told"), make("panic").inject(context):
        context.failpoints("worker").delete("orders/place")


def test_panic_share_and_times(context: FaultContext, ask: Ask) -> None:
    """A share of the calls, and no more than so many in all."""
    worker = context.add_worker()
    with make("panic", share="50%", times=3).inject(context) as evidence:
        statuses = [ask(worker)[0] for _ in range(40)]
    assert evidence.touched == statuses.count(500) == 3
    assert evidence.facts["terms"] == '50.0%3*panic("injected by chaoskit")'


def test_sleep(context: FaultContext, ask: Ask) -> None:
    """The call takes longer inside."""
    worker = context.add_worker()
    with make("sleep", delay="500ms", times=1).inject(context) as evidence:
        assert ask(worker)[1]["took"] >= 0.5
        assert ask(worker)[1]["took"] < 0.5
    assert evidence.touched == 1


def test_hang_goes_on_afterwards(context: FaultContext, ask: Ask) -> None:
    """What hangs answers as soon as the window has ended."""
    worker = context.add_worker()
    with ThreadPoolExecutor(1) as pool:
        with make("hang").inject(context) as evidence:
            answer = pool.submit(ask, worker)
            client = context.failpoints("worker")
            wait_for(lambda: client.count("orders/place") == 1, what="the call to hang", limit=5)
            assert not answer.done()
        assert answer.result(5)[0] == 200
    assert evidence.touched == 1


def test_failpoint_with_terms_of_its_own(context: FaultContext, ask: Ask) -> None:
    """A chain, in gofail's words: off counts as a hit there, and here."""
    worker = context.add_worker()
    with make("failpoint", terms="2*off->1*panic").inject(context) as evidence:
        assert [ask(worker)[0] for _ in range(4)] == [200, 200, 500, 200]
    assert evidence.touched == 3
    assert evidence.facts["terms"] == "2*off->1*panic"


def die(ask: Ask, worker: Any) -> None:
    with pytest.raises(OSError, match=r"."):
        ask(worker)


def test_abort_once(context: FaultContext, ask: Ask) -> None:
    """The process dies once; the one that the supervisor starts is left alone; the death is the hit."""
    worker = context.add_worker(restart="always")
    pid = worker.pid
    with make("abort").inject(context) as evidence:
        die(ask, worker)
        wait_for(lambda: worker.pid not in (None, pid) and worker.ready(), what="a new process", limit=10)
        threading.Event().wait(0.3)
        assert ask(worker)[0] == 200
    assert evidence.touched == 1
    assert evidence.facts["deaths"] == [-6]
    assert evidence.facts["processes"] == 1


def test_crash_loop(context: FaultContext, ask: Ask) -> None:
    """Without a limit it is set again in each new process."""
    worker = context.add_worker(restart="always")
    with make("exit", status=3, times=None).inject(context) as evidence:
        for number in (1, 2):
            wait_for(lambda: is_set(context), what="the failpoint", limit=10)
            die(ask, worker)
            wait_for(lambda n=number: len(context.events("exited")) == n, what="the exit", limit=10)
        wait_for(lambda: is_set(context), what="the failpoint", limit=10)
    assert ask(worker)[0] == 200
    assert evidence.touched == 2
    assert evidence.facts["deaths"] == [3, 3]
    assert evidence.facts["processes"] == 3


def is_set(context: FaultContext) -> bool:
    from chaoskit.failpoints.client import FailpointError

    try:
        return bool(context.failpoints("worker").list().get("orders/place"))
    except FailpointError:
        return False


def test_times_count_over_all_processes(context: FaultContext, ask: Ask) -> None:
    """Hits of a process that was killed meanwhile are used up, and still evidence."""
    worker = context.add_worker(restart="always")
    with make("panic", times=3).inject(context) as evidence:
        assert [ask(worker)[0] for _ in range(2)] == [500, 500]
        threading.Event().wait(0.3)  # the hits are looked at ten times a second
        worker.kill()
        wait_for(lambda: is_set(context) and worker.ready(), what="the failpoint in the new process", limit=10)
        assert [ask(worker)[0] for _ in range(3)] == [500, 200, 200]
    assert evidence.touched == 3
    assert evidence.facts["deaths"] == [], "it did not die of the panic"


def test_until_restart(context: FaultContext, ask: Ask) -> None:
    """What belongs to a process ends with it: a restart cures, as nothing else does before the window's end."""
    worker = context.add_worker()
    with make("panic", until_restart=True).inject(context) as evidence:
        assert ask(worker)[0] == 500
        threading.Event().wait(0.3)  # the hits are looked at ten times a second
        worker.restart()
        threading.Event().wait(0.5)  # in which it would have been set again
        assert not is_set(context)
        assert ask(worker)[0] == 200
    assert (evidence.touched, evidence.facts["processes"]) == (1, 1)


def test_dead_at_the_end(context: FaultContext, ask: Ask) -> None:
    """Without a supervisor the cure finds nobody; the service is started again when the scenario ends."""
    worker = context.add_worker()
    with make("abort").inject(context) as evidence:
        die(ask, worker)
    assert evidence.touched == 1
    for undo in context.held:
        undo()
    assert ask(worker)[0] == 200


def test_unknown_name(context: FaultContext) -> None:
    """Broken, with the names there are and the one that was probably meant."""
    context.add_worker()
    with (
        pytest.raises(BrokenError, match="legal: orders/place; did you mean 'orders/place'"),
        make("panic", at="orders/palce").inject(context),
    ):
        raise AssertionError("not reached")


def test_occupied(context: FaultContext) -> None:
    """What somebody else has set is not ours to lift: the fault is refused, and the other stays."""
    context.add_worker()
    context.failpoints("worker").put("orders/place", "off")
    with pytest.raises(BrokenError, match="is set already, to off"), make("hang").inject(context):
        raise AssertionError("not reached")
    assert is_set(context)


@pytest.mark.parametrize(
    ("name", "arguments", "terms"),
    [
        ("panic", {}, 'panic("injected by chaoskit")'),
        ("panic", {"message": "boom", "share": "12.5%"}, '12.5%panic("boom")'),
        ("hang", {"times": 2}, "2*hang"),
        ("sleep", {"delay": "1.5s"}, "sleep(1500)"),
        ("sleep", {"delay": "250us"}, 'sleep("250us")'),
        ("abort", {}, "1*abort"),
        ("abort", {"times": None}, "abort"),
        ("exit", {"status": 0}, "1*exit(0)"),
        ("failpoint", {"terms": "50%sleep(10)"}, "50%sleep(10)"),
        ("panic", {"at": "shop.orders:Orders.place"}, 'panic("injected by chaoskit")'),
    ],
)
def test_good_arguments(name: str, arguments: dict[str, Any], terms: str) -> None:
    """Arguments in the words of a scenario become gofail's terms."""
    fault = make(name, **arguments)
    assert fault.chain() == terms
    assert fault.target == "worker"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("panic", {"at": "orders place"}, "names no failpoint"),
        ("panic", {"at": "shop.orders:Orders."}, "names no failpoint"),
        ("panic", {"times": 0}, "greater than or equal to 1"),
        ("panic", {"share": "0%"}, "touches nothing"),
        ("panic", {"service": "wroker"}, "unknown service"),
        ("sleep", {}, "Field required"),
        ("sleep", {"delay": 200}, "200 is not a duration"),
        ("sleep", {"delay": "0s"}, "0s changes nothing"),
        ("exit", {"status": 256}, "less than or equal to 255"),
        ("failpoint", {"terms": "panik"}, "at character 1 of 'panik': expected a type"),
        ("failpoint", {"terms": "panic", "share": "10%"}, "Extra inputs"),
    ],
)
def test_bad_arguments(name: str, arguments: dict[str, Any], message: str) -> None:
    """Refused at load."""
    with pytest.raises(ValidationError, match=message):
        make(name, **arguments)
