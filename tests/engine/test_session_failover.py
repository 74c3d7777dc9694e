"""An environment whose database has a replica: the address moves and comes back, and the link has its own proxy."""

from __future__ import annotations

import threading

import psycopg
import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import InputError
from chaoskit.engine.session import Session
from chaoskit.history.rows import Event
from chaoskit.language.environments import changed, load_environment
from chaoskit.language.model import ServiceChange
from chaoskit.services.docker import daemon

ENVIRONMENT = """
environment: pair
services:
  db: {provider: postgres, args: {replica: true, synchronous: true, failover_after: 300ms, reset: none}}
"""
IN_RECOVERY = "select pg_is_in_recovery()"


@pytest.fixture
def environment(tmp_path):
    """Its file, loaded."""
    file = tmp_path / "pair.yaml"
    file.write_text(ENVIRONMENT)
    return load_environment(file)


@pytest.fixture(params=["process", "docker"])
def live(request, environment, tmp_path):
    """It runs; at the end nothing is left."""
    if request.param == "docker" and (reason := daemon.refusal()):
        pytest.skip(reason)
    session = Session(tmp_path / "reports", toxiproxy="embedded", runtime=request.param)
    try:
        found, _ = session.open(environment)
        assert found.prepare(environment)
        yield found
    finally:
        session.close()


def ask(live, sql, limit=5):
    """As a client of the database, through its proxy."""
    with psycopg.connect(live.addresses()["db"]["url"], autocommit=True, connect_timeout=limit) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def serves(live):
    """Whether the proxy leads to a server that accepts writes."""
    try:
        return ask(live, IN_RECOVERY) == [(False,)]
    except psycopg.OperationalError:
        return False


def test_the_replica_is_a_service_of_its_own(environment):
    """Faults and changes know it by name; it is described like its primary; its name cannot be taken twice."""
    assert list(environment.services) == ["db", "db-replica"]
    again = changed(environment, {"db": ServiceChange(args={"synchronous": False})})
    assert again.services["db"].args["synchronous"] is again.services["db-replica"].args["synchronous"] is False
    environment.source.file.write_text(ENVIRONMENT + "  db-replica: {provider: redis}\n")
    with pytest.raises(InputError, match="the name 'db-replica' is taken: db brings it along"):
        load_environment(environment.source.file)
    environment.source.file.write_text(ENVIRONMENT + "  more: {provider: postgres, args: {replica_of: db}}\n")
    with pytest.raises(InputError, match="replica_of is said by chaoskit alone"):
        load_environment(environment.source.file)


def test_the_address_moves_and_comes_back(live, environment):
    """Clients find the promoted replica where the primary was; before the next scenario all is as it was, and empty."""
    rows = []
    live._emit = rows.append
    before = live.addresses()
    ask(live, "create table orders (id int)")
    assert live.service("db").kill()
    wait_for(lambda: serves(live), what="the failover", limit=30)
    ask(live, "insert into orders values (7)")
    assert live.sql("db", "select id from orders") == [[7]]
    assert live.addresses() == before
    done = [row.what for row in sorted((row for row in rows if isinstance(row, Event)), key=lambda row: row.at)]
    assert [what for what in done if what != "killed"] == ["exited", "fenced", "promoted", "failed over"]
    assert live.prepare(environment)
    assert live.addresses() == before
    assert ask(live, "select to_regclass('orders')::text") == [(None,)]
    assert live.service("db-replica").read(IN_RECOVERY) == [[True]]
    ask(live, "create table orders (id int)")  # synchronous: the new replica has taken note
    assert live.sql("db", "select count(*) from orders") == [[0]]


def test_the_link_has_a_proxy(live, environment):
    """Cut, it keeps a synchronous primary waiting, and an asynchronous one is not held up, but ahead."""
    ask(live, "create table orders (id int)")
    live.toxiproxy.set_enabled("db-replica", False)
    waiting = threading.Thread(target=ask, args=(live, "insert into orders values (1)"), daemon=True)
    waiting.start()
    waiting.join(1.0)
    assert waiting.is_alive()
    live.toxiproxy.set_enabled("db-replica", True)
    waiting.join(10.0)
    assert not waiting.is_alive()

    assert live.prepare(changed(environment, {"db": ServiceChange(args={"synchronous": False})}))
    ask(live, "create table orders (id int)")
    replica = live.service("db-replica")
    wait_for(lambda: replica.read("select to_regclass('orders')::text") == [["orders"]], what="the table", limit=10)
    live.toxiproxy.set_enabled("db-replica", False)
    ask(live, "insert into orders values (1)")
    assert replica.read("select id from orders") == []
    live.heal()
    wait_for(lambda: replica.read("select id from orders") == [[1]], what="the row", limit=10)
