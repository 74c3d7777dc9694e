"""PostgreSQL with a streaming replica: it follows, it takes over, the old primary stays down, nothing is left."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Neighbours
from chaoskit.services.providers.postgres import Postgres, PostgresArgs
from chaoskit.system.journal import sweep
from chaoskit.system.pids import read_pidfile

FAILOVER = 0.5
IN_RECOVERY = "select pg_is_in_recovery()"


class Pair:
    """A primary and its replica without proxies between them; ``redirected`` is what an environment would do."""

    def __init__(self, bench, **args):
        spec = ServiceSpec(provider="postgres", args={"replica": True, "failover_after": f"{FAILOVER}s", **args})
        ((name, companion),) = Postgres.companions("db", spec).items()
        self.redirected = []
        self.primary = bench.make("db", provider="postgres", args=spec.args)
        self.replica = bench.make(name, provider="postgres", args=companion.args)
        services = {"db": self.primary, name: self.replica}

        def link(of):
            return services[of].upstream

        for service in services.values():
            service.join(Neighbours(services, link, lambda *names: self.redirected.append(names)))

    def start(self):
        """First one, then the other: the environment starts both at once."""
        self.primary.start()
        self.replica.start()
        return self

    def fail_over(self):
        """Kill the primary and wait until the replica has its place."""
        assert self.primary.kill()
        wait_for(lambda: self.redirected, what="the failover", limit=20)


@pytest.fixture
def pair(bench):
    """Both run, synchronously."""
    return Pair(bench, synchronous=True).start()


def execute(service, *statements):
    """As a client would, past the proxy."""
    with psycopg.connect(service.url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_the_replica_follows(pair):
    """Committed is replicated; the replica refuses writes; what is brought back to the primary reaches it."""
    execute(pair.primary, "create table orders (id int)", "insert into orders values (1)")
    wait_for(lambda: pair.replica.read("select id from orders") == [[1]], what="the row", limit=10)
    snapshot = pair.primary.snapshot()
    assert pair.replica.snapshot() is None
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(pair.replica, "insert into orders values (2)")
    execute(pair.primary, "delete from orders")
    wait_for(lambda: pair.replica.read("select id from orders") == [], what="the deletion", limit=10)
    pair.primary.restore(snapshot)
    wait_for(lambda: pair.replica.read("select id from orders") == [[1]], what="the row again", limit=10)
    assert not pair.primary.needs_recreate
    assert not pair.replica.needs_recreate


def test_a_dead_primary_is_replaced(bench, pair):
    """Not before its time; what was committed is there; the name of the primary answers from the replica."""
    execute(pair.primary, "create table orders (id int)", "insert into orders values (1)")
    pair.fail_over()
    assert pair.redirected == [("db", "db-replica")]
    assert bench.event("promoted").service == "db-replica"
    assert bench.event("promoted").at - bench.event("killed").at >= FAILOVER
    assert bench.events("started", "ready") == ["killed", "exited", "fenced", "promoted", "failed over"]
    execute(pair.replica, "insert into orders values (2)")  # nobody is waited for any more
    assert pair.primary.read("select id from orders order by id") == [[1], [2]]
    assert pair.primary.read(IN_RECOVERY) == [[False]]


def test_the_old_primary_is_fenced(bench, pair):
    """It cannot be started until it was stopped; then both are made anew, as a pair, and can fail over again."""
    execute(pair.primary, "create table orders (id int)")
    pair.fail_over()
    pair.primary.start()
    assert not pair.primary.alive()
    assert "db-replica is the primary now" in bench.event("not started").detail
    assert pair.primary.needs_recreate
    assert pair.replica.needs_recreate
    for service in (pair.primary, pair.replica):
        service.stop()
        assert not service.needs_recreate
    pair.start()
    assert pair.primary.read("select to_regclass('orders')::text") == [[None]]
    assert (pair.primary.read(IN_RECOVERY), pair.replica.read(IN_RECOVERY)) == ([[False]], [[True]])
    pair.redirected.clear()
    pair.fail_over()


def test_back_in_time(bench):
    """A primary that its supervisor restarts, or that is restarted in an orderly way, stays the primary."""
    pair = Pair(bench, failover_after="2s").start()
    pair.primary.kill()
    pair.primary.start()
    pair.primary.restart()
    time.sleep(2.5)  # that nothing happens has to be waited for
    assert pair.redirected == []
    assert "fenced" not in bench.events()
    follows = "select state from pg_stat_replication"
    wait_for(lambda: pair.primary.read(follows) == [["streaming"]], what="the replica to follow again", limit=10)


def test_no_replica_to_promote(bench, pair):
    """Told once, and tried until there is one: a replica that comes back serves."""
    pair.replica.kill()
    pair.primary.kill()
    wait_for(lambda: "not failed over" in bench.events(), what="the failed failover", limit=20)
    pair.replica.start()
    wait_for(lambda: pair.redirected, what="the failover", limit=20)
    assert bench.events().count("not failed over") == 1
    assert pair.primary.read(IN_RECOVERY) == [[False]]


def waiting():
    """The threads of failovers that are due."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("chaoskit-failover-")]


def test_stopped_in_the_middle(bench):
    """A failover that is due when all is ended does not happen."""
    pair = Pair(bench, failover_after="60s").start()
    pair.primary.kill()
    wait_for(waiting, what="the failover to be due", limit=20)
    pair.primary.stop()
    assert waiting() == []
    pair.replica.stop()
    assert pair.redirected == []
    assert "promoted" not in bench.events()


def test_a_replica_that_was_away(pair):
    """What was written in the meantime is kept for it, and what a synchronous primary did not acknowledge waits."""
    execute(pair.primary, "create table orders (id int)")
    pair.replica.kill()
    sql = "set synchronous_commit = local; insert into orders select generate_series(1, 200000)"
    execute(pair.primary, sql, "checkpoint")
    pair.replica.start()
    count = "select count(*) from orders"
    wait_for(lambda: pair.replica.read(count) == [[200000]], what="the missing rows", limit=30)
    execute(pair.primary, "insert into orders values (0)")


def test_arguments(bench):
    """What means nothing without a replica, or is not for files, is refused."""
    with pytest.raises(ValidationError, match="synchronous means nothing without a replica"):
        PostgresArgs.model_validate({"synchronous": True})
    with pytest.raises(ValidationError, match="failover_after means nothing without a replica"):
        PostgresArgs.model_validate({"failover_after": "1s"})
    with pytest.raises(ValidationError, match="replica_of is said by chaoskit alone"):
        PostgresArgs.model_validate({"replica_of": "db"}, context={"in_file": True})
    assert PostgresArgs.model_validate({"replica_of": "db", "synchronous": True}).synchronous
    with pytest.raises(ChaosError, match="service db: with a replica it needs its proxy"):
        bench.make("db", provider="postgres", args={"replica": True}, proxy=False)
    with pytest.raises(BrokenError, match="db-replica has no PostgreSQL server db beside it"):
        bench.make("db-replica", provider="postgres", args={"replica_of": "db"}).start()


OWNER = """
import pathlib, sys, time
from chaoskit.system.journal import Journal
from chaoskit.services.base import Neighbours
from chaoskit.services.create import create
from chaoskit.services.providers.postgres import Postgres
from chaoskit.language.service import ServiceSpec
folder = pathlib.Path(sys.argv[1])
journal = Journal(folder / "owner.journal")
spec = ServiceSpec(provider="postgres", args={"replica": True, "failover_after": "50ms"})
services = {}
for name, spec in {"db": spec, **Postgres.companions("db", spec)}.items():
    services[name] = create(name, spec, folder=folder / "run", journal=journal, emit=lambda row: None)
moved = lambda *names: print("moved", flush=True)
for service in services.values():
    service.join(Neighbours(services, lambda name: services[name].upstream, moved))
    print("begin", flush=True)
    service.start()
print("up", flush=True)
services["db"].kill()
time.sleep(60)
"""


def running(folder):
    """Pids of what was started there, by pidfile and by command line."""
    written = [read_pidfile(pidfile) for pidfile in folder.glob("run/*/*.pid")]
    found = {pid.pid for pid in written if pid is not None and pid.alive()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


@pytest.mark.parametrize(("word", "times"), [("begin", 2), ("up", 1), ("moved", 1)])
def test_nothing_is_left_of_a_killed_run(tmp_path, word, times):
    """Killed while the replica is copied, while both run and fail over, and after the failover."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        while times:
            line = process.stdout.readline()
            assert line
            times -= line.strip() == word
        if word == "begin":  # the copy is being made, or has just been
            wait_for(lambda: list(tmp_path.glob("run/db-replica/data/*")), what="the copy", limit=20, every=0.002)
        assert len(running(tmp_path)) >= 2
    finally:
        process.kill()
        process.communicate()
        told = sweep(tmp_path)
    assert not [text for text in told if "could not" in text]
    assert running(tmp_path) == set()
    assert list(tmp_path.glob("run/*")) == list(tmp_path.glob("*.journal")) == []
