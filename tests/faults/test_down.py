"""A proxy that goes down: refused, cut, back again, and what proves that anybody noticed."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from chaoskit.base.clock import now, wait_for
from chaoskit.faults.down import Down

if TYPE_CHECKING:
    from tests.faults.conftest import Echo, FaultContext, Talker

_serial = itertools.count(1)


@pytest.fixture
def door(context: FaultContext, echo: Echo) -> str:
    """A proxy to the echo server whose name no other test has used: the ledger remembers names."""
    name = f"door-{next(_serial)}"
    context.add_proxy(name, echo.port)
    return name


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def stay(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_open_connections_are_cut(context: FaultContext, door: str, connect: Callable[..., Talker]) -> None:
    """Those that were open see the end, new ones are refused, afterwards all is well; the cut ones are counted."""
    talkers = [connect(door) for _ in range(3)]
    for talker in talkers:
        talker.say()
    with Down(on=door).inject(context) as evidence:
        for talker in talkers:
            assert talker.socket.recv(10) == b""
        assert refused(context.proxied(door))
    assert (evidence.touched, evidence.facts["cut"]) == (3, 3)
    connect(door).say()


def test_cured_when_the_body_raises(context: FaultContext, door: str, connect: Callable[..., Talker]) -> None:
    """An exception inside the window opens the door again."""
    with pytest.raises(ZeroDivisionError), Down(on=door).inject(context):
        raise ZeroDivisionError
    connect(door).say()


def test_nobody_was_there(context: FaultContext, door: str) -> None:
    """No connection before, while or after: nothing was touched."""
    began = now()
    with Down(on=door).inject(context) as evidence:
        assert refused(context.proxied(door))
    assert evidence.touched == 0
    assert evidence.facts["back"] == 0
    assert now() - began < 5


def test_short_connections_just_before(context: FaultContext, door: str, connect: Callable[..., Talker]) -> None:
    """A client that connects for each request has none open just now, but had been coming: that counts."""
    for _ in range(4):
        talker = connect(door)
        talker.say()
        talker.close()
    wait_for(lambda: context.toxiproxy.counters()[door].active == 0, what="all connections to end", limit=5)
    with Down(on=door).inject(context) as evidence:
        stay(1.5)
    assert evidence.facts["cut"] == 0
    assert evidence.touched == evidence.facts["opened_before"] == 4
    assert evidence.facts["back"] is None


def test_traffic_long_ago_does_not_count(context: FaultContext, door: str, connect: Callable[..., Talker]) -> None:
    """What came earlier than the window is long proves nothing."""
    talker = connect(door)
    talker.say()
    talker.close()
    wait_for(lambda: context.toxiproxy.counters()[door].active == 0, what="all connections to end", limit=5)
    stay(1.5)
    with Down(on=door).inject(context) as evidence:
        stay(0.3)
    assert evidence.touched == 0


def test_knocking_at_the_door(context: FaultContext, door: str) -> None:
    """Somebody who came first while it was down, and keeps trying, is in as soon as it is up: that counts."""
    done = threading.Event()

    def knock() -> None:
        while not done.is_set() and refused(context.proxied(door)):
            done.wait(0.01)

    client = threading.Thread(target=knock)
    with Down(on=door).inject(context) as evidence:
        client.start()
        stay(0.1)
    done.set()
    client.join()
    assert (evidence.touched, evidence.facts["back"]) == (1, 1)
