"""A service of a team's Compose file, as faults and expectations see it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, TimeoutExpired
from chaoskit.base.units import format_duration
from chaoskit.language.compose import ComposedSpec
from chaoskit.services.base import Neighbours, Service
from chaoskit.services.docker.compose import database
from chaoskit.services.docker.compose.runtime import ComposeRuntime
from chaoskit.services.managed import ManagedService
from chaoskit.services.postgres_snapshot import PostgresSnapshot
from chaoskit.system.pids import describe_exit

if TYPE_CHECKING:
    import psycopg

COMPLETED = "service_completed_successfully"
MARGIN = 30.0
"""Seconds that all starts together may take beyond the limits of their readiness."""


class ComposeService(ManagedService):
    """Starts when what its ``depends_on`` names has done what its conditions say, as Compose would start it.

    ``render`` fills in templates, with the addresses that services of the environment see. A service that others wait
    for to complete, or that says ``job: true``, is ready when it has ended with status 0.
    """

    spec: ComposedSpec
    runtime: ComposeRuntime

    def __init__(self, name: str, spec: ComposedSpec, *, render: Callable[[str], str], **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self._render = render
        self._neighbours: Mapping[str, Service] = {}
        self._launched = threading.Event()
        self._settled = threading.Event()
        self._failure = ""
        needs = (its.needs.get(name) for its in self.runtime.project.facts.values())
        self._is_job = spec.job or COMPLETED in needs
        self._done = False

    # What it is

    @property
    def stop_signal(self) -> int:
        """When an environment is changed or ends, nobody waits for an orderly shutdown."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """The image's own, unless the environment says another: the faults ``restart`` and ``stop`` are orderly."""
        container = self.runtime.container
        if container is None or "stop" in self.spec.model_fields_set:
            return signal.Signals[f"SIG{self.spec.stop.signal}"]
        said = str(container.inspect()["Config"].get("StopSignal") or "SIGTERM")
        return int(said) if said.isdigit() else signal.Signals[said if said.startswith("SIG") else f"SIG{said}"]

    def environment(self) -> dict[str, str]:
        """The variables that are added to those of the Compose file."""
        said = {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in self.spec.env.items()
        }
        return {
            **self.runtime.project.variables(self.name),
            **{name: self._render(text) for name, text in said.items()},
        }

    def join(self, neighbours: Neighbours) -> None:
        """Find the services that it waits for."""
        self._neighbours = neighbours.services

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """Its URL; of a PostgreSQL server with user and database, as its variables say."""
        facts = self.runtime.facts
        place = f"{host or self.host}:{port or self.port}"
        if database.is_postgres(facts, self.spec.sql):
            return database.url(place, facts, self.spec.sql)
        if database.is_redis(facts):
            return f"redis://{place}/0"
        return super().url(host, port)

    def limit(self) -> int | None:
        """``max_connections`` of a PostgreSQL server."""
        if not database.is_postgres(self.runtime.facts, self.spec.sql):
            return None
        return int(self.read("show max_connections")[0][0])

    def read(self, sql: str) -> list[list[Any]]:
        """The rows of a query, asked directly and not through the proxy. Raises BrokenError when it fails."""
        if not database.is_postgres(self.runtime.facts, self.spec.sql):
            raise BrokenError(
                f"{self.name} is no PostgreSQL server, as far as its image and variables tell; if it is one, say "
                f"services: {{{self.name}: {{sql: {{user: ..., database: ...}}}}}} in the environment"
            )
        return database.read(self.name, self.url(), sql)

    # Life

    def start(self) -> None:
        """Start it unless it runs, once what it needs is there."""
        self._settled.clear()
        self._failure = ""
        try:
            if not self._initialised:
                self._await_needs()
            super().start()
        except BaseException as error:
            self._failure = str(error) or type(error).__name__
            raise
        finally:
            self._settled.set()

    def stop(self) -> None:
        """End it and remove its container."""
        self._launched.clear()
        self._settled.clear()
        self._done = False
        super().stop()

    def alive(self) -> bool:
        """True while its container runs; for a job, once it is done, too."""
        return self._done or super().alive()

    def check(self) -> str:
        """One readiness check. Where it has no port and nothing is said, running is all that can be asked."""
        self.host = self.runtime.host
        ready = self.spec.ready
        asked = ready.http is not None or ready.tcp is not None or ready.log is not None
        if not asked and not self.port:
            return self.runtime.health() or ""
        return super().check()

    def wait_until(self, condition: str, whose: str, limit: float) -> None:
        """Return when whoever waits for this with a condition of Compose's may start, or this could not be started."""

        def met() -> bool:
            if condition == "service_started":
                return self._launched.is_set() or self._settled.is_set()
            return self._settled.is_set() or self._initialised

        what = f"{self.name}, which {whose} depends on"
        wait_for(met, what=what, limit=limit, last_seen=lambda: " / ".join(self.last_lines()[-3:]))

    def snapshot(self) -> PostgresSnapshot | None:
        """Of a PostgreSQL server, with ``sql: {reset: restore}``: all databases but the tables of ``keep``."""
        if self.spec.sql.reset == "none":
            return None
        return PostgresSnapshot.take(self.name, self._connect, self.spec.sql.keep)

    def restore(self, snapshot: PostgresSnapshot) -> None:
        """Exactly these rows, beneath the sessions of the services."""
        snapshot.restore(self.name, self._connect)

    # Inside

    def _connect(self, its_database: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        return database.connect(self.name, self.url(), its_database)

    def _await_needs(self) -> None:
        """Wait for what ``depends_on`` names."""
        limit = MARGIN + sum(service.spec.ready.within for service in self._neighbours.values())
        for name, condition in self.runtime.facts.needs.items():
            other = self._neighbours.get(name)
            if not isinstance(other, ComposeService):
                continue  # it has a profile, and is not run
            other.wait_until(condition, self.name, limit)
            if other._failure:
                raise BrokenError(f"{self.name} was not started, as it depends on {name}: {other._failure}")

    def _await_ready(self) -> None:
        self._launched.set()
        process = self._process
        if not self._is_job or process is None:
            super()._await_ready()
            return
        try:
            status = process.wait(self.spec.ready.within)
        except TimeoutExpired:
            limit = format_duration(self.spec.ready.within)
            raise BrokenError(f"{self.name} is a job, and has not ended within {limit}{self._last()}") from None
        if status != 0:
            raise BrokenError(f"{self.name} is a job, and failed: {describe_exit(status)}{self._last()}")
        self._done = True

    def _last(self) -> str:
        return "\n  ".join(["; its last lines:", *self.last_lines()[-15:]])
