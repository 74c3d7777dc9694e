"""The toxic faults on the wire: what they do, that they are cured, what they count."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.language.fault import FAULTS, Fault

if TYPE_CHECKING:
    from tests.faults.conftest import Echo, FaultContext, Talker

    Connect = Callable[..., Talker]

TOXICS: dict[str, dict[str, Any]] = {
    "latency": {"delay": "2s"},
    "bandwidth": {"rate": "1KB/s"},
    "timeout": {},
    "reset": {},
    "drop": {"share": "100%"},
    "slow_close": {"delay": "300ms"},
    "slice": {"size": "10B"},
    "limit_data": {"bytes": "3B"},
}


def make(name: str, **arguments: Any) -> Fault:
    return FAULTS.get(name).model_validate({"on": "echo", **arguments})


@pytest.mark.parametrize(("name", "arguments"), TOXICS.items())
def test_idle_proves_nothing(name: str, arguments: dict[str, Any], context: FaultContext, connect: Connect) -> None:
    """A fault on a proxy with an open but silent connection has touched nothing."""
    connect().say()
    with make(name, **arguments).inject(context) as evidence:
        pass
    assert evidence.touched == 0
    assert evidence.unit == "connections"
    assert evidence.facts["proxy"]["opened"] == 0


@pytest.mark.parametrize(("name", "arguments"), TOXICS.items())
def test_cured_when_the_body_raises(
    name: str, arguments: dict[str, Any], context: FaultContext, connect: Connect
) -> None:
    """No toxic is left behind, and traffic flows as before, also when the window ends with an exception."""
    with pytest.raises(ZeroDivisionError), make(name, **arguments).inject(context):
        raise ZeroDivisionError
    assert toxics(context) == []
    talker = connect()
    assert talker.say(b"x" * 3000) < 1
    talker.close()


def toxics(context: FaultContext) -> list[Any]:
    import requests

    url = context.toxiproxy._consumer.url
    found: list[Any] = requests.get(f"{url}/proxies/echo/toxics", timeout=5).json()
    return found


def test_latency_delays_answers(context: FaultContext, connect: Connect) -> None:
    """Live and new connections wait; both are counted; after the window they do not."""
    old = connect()
    assert old.say() < 0.4
    with make("latency", delay="500ms", jitter="50ms").inject(context) as evidence:
        new = connect()
        assert old.say() >= 0.45
        assert 0.45 <= new.say() < 2
    assert old.say() < 0.4
    assert evidence.touched == 2
    assert evidence.facts["toxic"]["chunks"] == 2
    assert evidence.facts["toxic"]["bytes"] == 10
    assert evidence.facts["proxy"] == {"opened": 1, "sent": 10, "received": 10}
    assert evidence.facts["attributes"] == {"latency": 500, "jitter": 50}


def test_direction_upstream(context: FaultContext, echo: Echo, connect: Connect) -> None:
    """A black hole on the way up: the service never sees the request."""
    talker = connect()
    with make("timeout", direction="upstream").inject(context) as evidence:
        with pytest.raises(TimeoutError):
            talker.say(b"lost", limit=0.2)
        assert b"lost" not in echo.received
    assert evidence.touched == 1


def test_direction_downstream_by_default(context: FaultContext, echo: Echo, connect: Connect) -> None:
    """A black hole on the way down: the service has seen the request, its answer is lost."""
    talker = connect()
    with make("timeout").inject(context), pytest.raises(TimeoutError):
        talker.say(b"seen", limit=0.2)
    assert b"seen" in echo.received
    talker.socket.settimeout(5)
    assert talker.socket.recv(10) == b"", "a stream with missing parts is closed by the cure"


def test_timeout_after(context: FaultContext, connect: Connect) -> None:
    """A connection on which nothing comes is closed after its time, and counted."""
    talker = connect()
    with make("timeout", after="200ms").inject(context) as evidence:
        began = now()
        with pytest.raises(EOFError):
            talker.say()
        assert now() - began >= 0.19
    assert evidence.touched == 1
    assert evidence.facts["toxic"]["cut"] == 1


def test_bandwidth_slows_down(context: FaultContext, connect: Connect) -> None:
    """10 KB at 20 KB/s take about half a second."""
    talker = connect()
    with make("bandwidth", rate="20KB/s").inject(context) as evidence:
        assert talker.say(b"x" * 10_000) >= 0.35
    assert evidence.touched == 1
    assert evidence.facts["toxic"]["bytes"] == 10_000


def test_reset_cuts(context: FaultContext, connect: Connect) -> None:
    """Each connection that carries data is reset; the silent one is neither cut nor counted."""
    old, silent = connect(), connect()
    silent.say()
    with make("reset").inject(context) as evidence:
        for talker in (old, connect()):
            with pytest.raises(ConnectionResetError):
                talker.say()
    assert evidence.touched == 2
    silent.say()


def test_reset_after(context: FaultContext, connect: Connect) -> None:
    """``after`` counts from the first data."""
    talker = connect()
    with make("reset", after="200ms").inject(context) as evidence:
        began = now()
        with pytest.raises(ConnectionResetError):
            talker.say()
        assert now() - began >= 0.19
    assert evidence.touched == 1


def test_drop_spares_the_others(context: FaultContext, connect: Connect) -> None:
    """About half of many connections are cut, and exactly those are counted."""
    with make("drop", share="50%").inject(context) as evidence:
        lost = sum(is_lost(connect()) for _ in range(60))
    assert 10 <= lost <= 50
    assert evidence.touched == lost
    assert evidence.facts["proxy"]["opened"] == 60


def is_lost(talker: Talker) -> bool:
    try:
        talker.say()
    except ConnectionResetError:
        return True
    return False


def test_share_of_a_latency(context: FaultContext, connect: Connect) -> None:
    """Only the connections that the dice chose are delayed and counted."""
    with (
        make("latency", delay="1s", share="50%").inject(context) as evidence,
        ThreadPoolExecutor(20) as pool,
    ):
        took = list(pool.map(lambda talker: talker.say(), [connect() for _ in range(40)]))
    assert evidence.touched == sum(seconds >= 1 for seconds in took)
    assert 4 <= evidence.touched <= 36


def test_slow_close(context: FaultContext, connect: Connect) -> None:
    """The service closes; its client learns it later. A connection that stays open is not counted."""
    closing, staying = connect(), connect()
    with make("slow_close", delay="300ms").inject(context) as evidence:
        staying.say()
        began = now()
        closing.socket.sendall(b"bye")
        closing.socket.settimeout(5)
        assert closing.socket.recv(10) == b""
        assert now() - began >= 0.29
        wait_for(lambda: context.toxiproxy.counters()["echo"].active == 1, what="the connection's end", limit=5)
    assert evidence.touched == 1


def test_slice(context: FaultContext, connect: Connect) -> None:
    """100 bytes come in pieces of 10, one every 10 ms."""
    talker = connect()
    with make("slice", size="10B", delay="10ms").inject(context) as evidence:
        talker.socket.sendall(b"x" * 100)
        pieces = []
        while sum(pieces) < 100:
            pieces.append(len(talker.socket.recv(1000)))
    assert len(pieces) >= 5
    assert evidence.touched == 1


def test_limit_data(context: FaultContext, connect: Connect) -> None:
    """The stream breaks off after three bytes; a connection within its allowance is not counted."""
    talker, modest = connect(), connect()
    with make("limit_data", bytes="3B").inject(context) as evidence:
        modest.say(b"ab")
        with pytest.raises(EOFError, match="2 bytes are missing"):
            talker.say()
    assert evidence.touched == 1
    modest.say(b"abcdefgh")


def test_two_of_a_kind(context: FaultContext, connect: Connect) -> None:
    """Overlapping faults of one kind add up, and each is lifted by itself."""
    talker = connect()
    with make("latency", delay="500ms").inject(context):
        with make("latency", delay="700ms").inject(context):
            assert talker.say() >= 1.2
        assert 0.5 <= talker.say() < 1.2
    assert talker.say() < 0.5


def test_reset_of_the_server_meanwhile(context: FaultContext, connect: Connect) -> None:
    """A toxic that is gone early: the fault did not last as long as it says, which is broken; the evidence is there."""
    with ExitStack() as stack:
        evidence = stack.enter_context(make("latency", delay="100ms").inject(context))
        connect().say()
        context.toxiproxy.reset()
        with pytest.raises(BrokenError, match="was gone before its time"):
            stack.close()
    assert evidence.touched == 1


def test_no_proxy(context: FaultContext) -> None:
    """A service without a proxy cannot be hurt this way: broken, in words."""
    with pytest.raises(BrokenError, match="no proxy stands in front of echo"), make("timeout").inject(context):
        raise AssertionError("not reached")


def test_connecting_is_not_delayed(context: FaultContext, connect: Connect) -> None:
    """As the page says: latency acts on data only."""
    with make("latency", delay="2s").inject(context) as evidence:
        began = now()
        connect()
        assert now() - began < 1
    assert evidence.touched == 0
