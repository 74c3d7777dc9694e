"""Connections that are taken away: held for real, released for real."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.faults.pool_exhaustion import PoolExhaustion, _Holding

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext, Talker


def exhaust(**arguments: Any) -> PoolExhaustion:
    return PoolExhaustion.model_validate({"on": "db", **arguments}, context={"services": {"db", "echo"}})


@pytest.fixture
def db(context: FaultContext, postgres: Service) -> Service:
    """PostgreSQL for 20 sessions, none of which is left from the test before."""
    wait_for(lambda: foreign(postgres) == 0, what="the sessions of the test before to end", limit=10)
    return context.adopt("db", postgres)


def foreign(postgres: Service) -> int:
    try:
        with psycopg.connect(postgres.url(), connect_timeout=5) as session:
            row = session.execute(
                "select count(*) from pg_stat_activity "
                "where backend_type = 'client backend' and pid <> pg_backend_pid()"
            ).fetchone()
    except psycopg.OperationalError:
        return -1
    return int(row[0]) if row else -1


@pytest.fixture
def cache(context: FaultContext) -> Service:
    """Redis for 30 clients."""
    return context.add("db", provider="redis", args={"maxclients": 30})


@pytest.fixture
def client(context: FaultContext) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """Sessions of a service's own, through the proxy."""
    sessions: list[psycopg.Connection[Any]] = []

    def make() -> psycopg.Connection[Any]:
        url = context.service("db").url(*context.proxied("db"))
        sessions.append(psycopg.connect(url, connect_timeout=5, autocommit=True, application_name="orders"))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def ours(session: psycopg.Connection[Any]) -> int:
    row = session.execute(
        "select count(*) from pg_stat_activity where application_name = 'chaoskit pool_exhaustion'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_number(context: FaultContext, db: Service, client: Callable[[], psycopg.Connection[Any]]) -> None:
    """So many sessions are there when the window opens, and none after it; what others have they keep."""
    own = client()
    with exhaust(hold=5).inject(context) as evidence:
        assert ours(own) == 5
    wait_for(lambda: ours(own) == 0, what="the sessions to end", limit=5)
    assert evidence.unit == "connections"
    assert (evidence.touched, evidence.facts["held"], evidence.facts["held_at_end"]) == (5, 5, 5)
    assert (evidence.facts["asked"], evidence.facts["limit"]) == (5, 20)
    assert (evidence.facts["refused"], evidence.facts["lost"], evidence.facts["evicted"]) == (0, 0, 0)
    assert 0 < evidence.facts["seconds"] < 5


def test_everything(context: FaultContext, db: Service, client: Callable[[], psycopg.Connection[Any]]) -> None:
    """With all of them taken nobody gets in; what is freed by others is taken too; then there is room again."""
    own = client()
    with exhaust(hold="100%").inject(context) as evidence:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            client()
        own.close()
        threading.Event().wait(0.4)
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            client()
    wait_for(lambda: can_connect(client), what="room", limit=5)
    assert (evidence.touched, evidence.facts["asked"]) == (20, 20)
    assert evidence.facts["refused"] >= 1
    assert "too many clients" in evidence.facts["refusal"]
    assert evidence.facts["seconds"] > 0


def can_connect(client: Callable[[], psycopg.Connection[Any]]) -> bool:
    try:
        client()
    except psycopg.OperationalError:
        return False
    return True


def test_evict(context: FaultContext, db: Service, client: Callable[[], psycopg.Connection[Any]]) -> None:
    """The service's own sessions are ended, and their places are taken."""
    sessions = [client() for _ in range(3)]
    with exhaust(hold="100%", evict=True).inject(context) as evidence:
        wait_for(lambda: not can_connect(client), what="all places to be taken", limit=5)
        for session in sessions:
            with pytest.raises(psycopg.OperationalError):
                session.execute("select 1")
    assert evidence.touched == 20
    assert evidence.facts["evicted"] >= 3


def test_a_share_leaves_the_rest(
    context: FaultContext, db: Service, client: Callable[[], psycopg.Connection[Any]]
) -> None:
    """90% of 20 are 18: two get in, and a third does not."""
    with exhaust(hold="90%").inject(context) as evidence:
        client()
        client()
        with pytest.raises(psycopg.OperationalError):
            client()
    assert evidence.touched == 18


def test_released_when_the_body_raises(context: FaultContext, db: Service) -> None:
    """An exception frees them all."""
    with pytest.raises(ZeroDivisionError), exhaust(hold="100%").inject(context):
        raise ZeroDivisionError
    wait_for(lambda: context.toxiproxy.counters()["db"].active == 0, what="the sessions to end", limit=5)


def test_lost_and_taken_again(
    context: FaultContext, db: Service, client: Callable[[], psycopg.Connection[Any]]
) -> None:
    """Sessions that a fault cuts are counted as lost and opened anew."""
    with exhaust(hold=4).inject(context) as evidence:
        context.toxiproxy.set_enabled("db", False)
        threading.Event().wait(0.2)
        context.toxiproxy.set_enabled("db", True)
        own = client()
        wait_for(lambda: ours(own) == 4, what="the sessions to come back", limit=5)
    assert (evidence.touched, evidence.facts["lost"], evidence.facts["held_at_end"]) == (4, 4, 4)
    assert evidence.facts["refused"] >= 1


def test_nothing_could_be_held(context: FaultContext, db: Service) -> None:
    """A server that cannot be reached was not exhausted."""
    context.toxiproxy.set_enabled("db", False)
    with exhaust(hold=4).inject(context) as evidence:
        pass
    assert evidence.touched == 0
    assert evidence.facts["refused"] >= 1
    assert evidence.facts["seconds"] is None


def test_interrupted_while_it_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: the process ends with its standard input, and its pipes are closed."""
    holding = _Holding(url="tcp://127.0.0.1:1", host="127.0.0.1", port=1, asked=1, evict=False)
    process = holding._process

    def interrupted(**_rest: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        holding.release()
    assert process.stdout is not None
    assert process.stdout.closed
    assert wait_for(lambda: process.poll() is not None, what="its end", limit=10)


def test_redis(context: FaultContext, cache: Service) -> None:
    """Redis accepts and then says no: only clients that it took are held."""
    with exhaust(hold="100%").inject(context) as evidence:
        answer = ask_redis(context)
        assert b"max number of clients" in answer
    wait_for(lambda: ask_redis(context) == b"+PONG\r\n", what="room", limit=5)
    assert (evidence.touched, evidence.facts["asked"], evidence.facts["limit"]) == (30, 30, 30)


def ask_redis(context: FaultContext) -> bytes:
    """What Redis says to a PING."""
    with socket.create_connection(context.proxied("db"), timeout=5) as connection:
        try:
            connection.sendall(b"PING\r\n")
            return connection.recv(100)
        except ConnectionResetError:
            return b"-ERR max number of clients reached (reset)"


def test_redis_evict(context: FaultContext, cache: Service) -> None:
    """Clients of others are ended, ours are not."""
    with socket.create_connection(context.proxied("db"), timeout=5) as own:
        own.sendall(b"PING\r\n")
        assert own.recv(100) == b"+PONG\r\n"
        with exhaust(hold="100%", evict=True).inject(context) as evidence:
            assert own.recv(100) == b""
    assert evidence.touched == 30
    assert evidence.facts["evicted"] >= 1
    assert evidence.facts["held_at_end"] == 30


def test_plain_connections(context: FaultContext, connect: Callable[..., Talker]) -> None:
    """Any server: connections that say nothing."""
    context.services["echo"] = context.add("db", provider="noop")  # the echo server has no process; its proxy counts
    with exhaust(on="echo", hold=7).inject(context) as evidence:
        wait_for(lambda: context.toxiproxy.counters()["echo"].active == 7, what="the proxy to accept them", limit=5)
    assert (evidence.touched, evidence.facts["limit"]) == (7, None)
    wait_for(lambda: context.toxiproxy.counters()["echo"].active == 0, what="their ends", limit=5)


def test_what_cannot_be_done(context: FaultContext, connect: Callable[..., Talker]) -> None:
    """A share of nobody knows what, and eviction where there are no sessions: broken, in words."""
    context.services["echo"] = context.add("db", provider="noop")
    with (
        pytest.raises(BrokenError, match="echo tells no limit of connections; give hold as a number"),
        exhaust(on="echo", hold="50%").inject(context),
    ):
        raise AssertionError("not reached")
    with (
        pytest.raises(BrokenError, match="PostgreSQL and Redis only"),
        exhaust(on="echo", hold=1, evict=True).inject(context),
    ):
        raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("hold", "asked"), [(20, 20), ("20", 20), ("90%", 90), ("100%", 100), ("0.1%", 1), ("29%", 29)]
)
def test_good_arguments(hold: int | str, asked: int) -> None:
    """Of a limit of 100."""
    assert exhaust(hold=hold).asked(100) == asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Field required"),
        ({"hold": 0}, "at least one connection"),
        ({"hold": "0%"}, "above 0%"),
        ({"hold": "101%"}, "at most at 100%"),
        ({"hold": "many"}, "says not how many"),
        ({"hold": "x%"}, "is not a ratio"),
        ({"hold": True}, "valid"),
        ({"hold": 2.5}, "valid"),
        ({"hold": 2, "on": "bd"}, "unknown service 'bd'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    """Refused at load."""
    with pytest.raises(ValidationError, match=message):
        exhaust(**arguments)
