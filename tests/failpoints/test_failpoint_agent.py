"""A real process, started through the agent, that panics, aborts, exits, hangs and sleeps by name."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.failpoints.client import FailpointError

SYNC, ASYNC = "fp_service.work:Orders.charge", "fp_service.work:pay"


@pytest.mark.parametrize(("call", "name", "healthy"), [("sync", SYNC, "charged 1"), ("async", ASYNC, "paid 1")])
def test_panic_return_and_sleep_by_name(service: Any, call: str, name: str, healthy: str) -> None:
    """One unit of work fails, the process lives; lifted, everything is as before."""
    assert service.ask(call) == f"{call} {healthy}"
    service.api.put(name, '1*panic("boom")->1*return({"a": 1})->1*sleep(50)')
    assert service.ask(call) == f"{call} Panic('failpoint panic: boom')"
    assert service.ask(call) == f"{call} {{'a': 1}}"
    begin = time.monotonic()
    assert service.ask(call) == f"{call} {healthy}"
    assert time.monotonic() - begin >= 0.05
    assert service.ask(call) == f"{call} {healthy}"
    assert service.api.count(name) == 3
    service.api.delete(name)
    assert service.ask(call) == f"{call} {healthy}"
    assert service.process.poll() is None


@pytest.mark.parametrize(("call", "name"), [("sync", SYNC), ("async", ASYNC)])
@pytest.mark.parametrize(
    ("terms", "status"), [("abort", -signal.SIGABRT), ("exit(3)", 3), ("exit", 1), ("1*off->exit(0)", 0)]
)
def test_abort_and_exit_by_name(service: Any, call: str, name: str, terms: str, status: int) -> None:
    """The process ends at once with the signal or the status, and its last line says why."""
    service.api.put(name, terms)
    if "off" in terms:
        service.ask(call)
    service.send(call)
    code, errors = service.wait()
    assert code == status
    word = "abort" if terms == "abort" else f"exit({status})"
    assert f"failpoint {word}: {name}" in errors.splitlines()
    with pytest.raises(FailpointError, match="no answer"):
        service.api.list()


@pytest.mark.parametrize(("call", "name", "healthy"), [("sync", SYNC, "charged 1"), ("async", ASYNC, "paid 1")])
def test_hang_by_name(service: Any, call: str, name: str, healthy: str) -> None:
    """The unit of work hangs, the event loop runs on; lifted, the work is finished."""
    service.api.put(name, "hang")
    service.send(call)
    wait_for(lambda: service.api.count(name) == 1, what="the hit", limit=10)
    assert service.ask("tick") == "tick None"
    service.api.delete(name)
    assert service.line() == f"{call} {healthy}"


def test_a_hung_process_can_be_ended(service: Any) -> None:
    """SIGTERM ends it as ever."""
    service.api.put(SYNC, "hang")
    service.send("sync")
    wait_for(lambda: service.api.count(SYNC) == 1, what="the hit", limit=10)
    service.process.terminate()
    assert service.wait()[0] == -signal.SIGTERM


def test_set_while_it_is_hot(start: Any, tmp_path: Path) -> None:
    """An abort in a function that is called without pause still lets the API answer the request that set it."""
    (tmp_path / "hot.py").write_text(
        "import threading, fp_service.work as w\nprint('ready', flush=True)\no = w.Orders()\n"
        "def spin():\n    while True: o.charge(1)\n"
        "for _ in range(3): threading.Thread(target=spin).start()\n"
    )
    child = start("-m", "chaoskit.failpoints.agent", "hot.py")
    child.line()
    child.api.put(SYNC, "abort")
    assert child.wait()[0] == -signal.SIGABRT
