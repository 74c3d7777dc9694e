"""A running environment: services, one proxy in front of each, and what faults may reach of them.

It is started once and reset between scenarios. When a scenario (or its control) changes a service, only that
service is started anew, at the same address.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from chaoskit.alerting import otlp
from chaoskit.alerting.receiver import Receiver
from chaoskit.alerting.sink import AlertSink
from chaoskit.base.blast_radius import BlastRadius, beyond
from chaoskit.base.errors import BrokenError
from chaoskit.engine.http_probe import status_of
from chaoskit.engine.live_services import LiveServices
from chaoskit.engine.platform import Platform, Proxy
from chaoskit.engine.service_links import Neighbourhood
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.history.rows import Row
from chaoskit.language.model import Environment
from chaoskit.observers.tap_poller import TapPoller
from chaoskit.services.base import Service
from chaoskit.system.journal import Journal
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.traffic.generator import TrafficGenerator
from chaoskit.traffic.spec import Stream

NOTED_HEADERS = ["idempotency-key", "traceparent"]


class LiveEnvironment:
    """The services of one environment while they run: the :class:`~chaoskit.language.fault.FaultContext`."""

    def __init__(
        self,
        environment: Environment,
        folder: Path,
        journal: Journal,
        traffic: TrafficGenerator,
        platform: Platform,
        alerting: str = "embedded",
        allow: Collection[str] = (),
    ) -> None:
        self.environment = environment
        self.allow = allow
        self.journal = journal
        self._traffic = traffic
        self.folder = folder
        self._emit: Callable[[Row], None] = discard
        self._services = LiveServices(
            environment,
            platform,
            folder=folder,
            journal=journal,
            emit=lambda row: self._emit(row),
            addresses=lambda: self.addresses(inside=True),
        )
        self._proxies: dict[str, Proxy] = {}
        self.platform = platform
        self.receiver = Receiver()
        self.alerts = AlertSink(lambda row: self._emit(row))
        self.alerts.attach(self.receiver)
        self.receiver.take(otlp.PREFIX, otlp.OtlpTaker(lambda row: self._emit(row)))
        self._entry: int | None = None
        self._held: list[Callable[[], None]] = []
        self._answered: dict[str, int] = {}
        self._neighbourhood = Neighbourhood(
            self._services,
            self._proxies,
            lambda: self.toxiproxy,
            folder=environment.folder,
            receiver=self.receiver.addresses,
            alerting=alerting,
            firing=lambda: [alert.labels for alert in self.alerts.firing()],
        )
        self._lock = threading.Lock()
        self._fresh = True
        self.needs_restart = False

    # Life

    def start(self) -> None:
        """Start Toxiproxy, then the services: first the providers, then all others together."""
        self._entry = self.journal.make_folder(self.folder)
        self.platform.start(self.environment.services)
        self.receiver.start(self.platform.here)
        self.poller = TapPoller(self.toxiproxy, discard)
        self._services.make()
        self._neighbourhood.introduce(self._services)
        for name, service in self._services.items():
            if service.spec.proxy and service.port:
                self._proxies[name] = self.platform.proxy(service)
        self._services.start()

    def stop(self) -> None:
        """End everything. One that fails does not keep the others running."""
        with contextlib.ExitStack() as stack:
            if self._entry is not None:
                stack.callback(self.journal.undo, self._entry)
            stack.callback(self.platform.stop)
            stack.callback(self.receiver.stop)
            stack.callback(self.alerts.heal)
            stack.callback(self._services.stop)

    def prepare(self, wanted: Environment) -> bool:
        """Make it as good as new, with the services as ``wanted`` says. True when one of them was started for it.

        Raises BrokenError.
        """
        self.heal()
        changed = self._services.exchange(wanted.services, needs_restart=self.needs_restart)
        self._neighbourhood.introduce(changed)
        self._neighbourhood.restore()
        started, self._fresh, self.needs_restart = self._services.renew() or self._fresh, False, False
        return started

    def heal(self) -> None:
        """Undo whatever faults may have left: toxics, failpoints, stopped processes, held changes."""
        while self._held:
            with contextlib.suppress(BrokenError):
                self._held.pop()()
        self.alerts.heal()
        self.toxiproxy.reset()
        for name, service in self._services.items():
            service.resume()
            if service.failpoints_url is not None and service.alive():
                with contextlib.suppress(FailpointError):  # it has just died, and its failpoints with it
                    self._clear_failpoints(name)

    def observe(self, emit: Callable[[Row], None], id_headers: list[str]) -> TapPoller:
        """Send everything that is seen from now on to ``emit``; tap the proxies of HTTP services.

        Gives the poller of what the proxies see; it has thrown away what belongs to earlier scenarios.
        """
        self._emit = emit
        self.alerts.clear()
        with self._lock:
            self._answered.clear()
        self.poller.emit = discard
        self.poller.look()
        self.poller.emit = emit
        self.tap(id_headers)
        return self.poller

    def tap(self, id_headers: list[str]) -> None:
        """Look for these headers, in this order, for the id of a request from now on. Raises BrokenError."""
        for name, service in self._services.items():
            if name in self._proxies and service.protocol == "http":
                self.toxiproxy.set_tap(name, id_headers=id_headers, note_headers=NOTED_HEADERS)

    def observe_nothing(self) -> None:
        """Throw away what is seen from now on."""
        self._emit = self.poller.emit = discard

    def check(self) -> None:
        """Raises BrokenError when Toxiproxy or Docker died."""
        self.platform.check()

    def addresses(self, *, inside: bool = False) -> dict[str, dict[str, Any]]:
        """What templates may ask of each service. ``url``, ``host`` and ``port`` lead through its proxy.

        ``inside``: as the services themselves see it, not we (the same unless they have a network of their own).
        """
        return self._neighbourhood.addresses(inside=inside)

    @property
    def radius(self) -> BlastRadius:
        """Who may be connected to now: loopback, our own containers, and the hosts that were allowed."""
        own = [service.host for service in self._services.values() if service.container is not None]
        return BlastRadius([*self.allow, self.platform.here, *own])

    @property
    def services(self) -> Mapping[str, Service]:
        """The running services by name."""
        return self._services

    # FaultContext

    @property
    def toxiproxy(self) -> ToxiproxyControl:
        """The Toxiproxy server."""
        return self.platform.control

    def service(self, name: str) -> Service:
        """A running service."""
        return self._services[name]

    def proxied(self, name: str) -> tuple[str, int]:
        """Host and port of the proxy in front of a service."""
        if name not in self._proxies:
            raise BrokenError(f"no proxy stands in front of {name}: it has no port, or proxy: false")
        return self._proxies[name].outside

    def failpoints(self, name: str) -> FailpointClient:
        """The failpoint API of a service."""
        url = self._services[name].failpoints_url
        if url is None:
            raise BrokenError(f"{name} offers no failpoints: say 'failpoints: true' in its environment")
        return FailpointClient(url)

    def start_stream(self, stream: Stream) -> None:
        """Send extra traffic."""
        self._traffic.stream(stream)

    def stop_stream(self, stream_id: str) -> None:
        """End extra traffic."""
        self._traffic.stop(stream_id)

    def answered(self, stream_id: str) -> None:
        """Count an answer of a stream (told by the run)."""
        with self._lock:
            self._answered[stream_id] = self._answered.get(stream_id, 0) + 1

    def requests_sent(self, stream_id: str) -> int:
        """How many requests of a stream were answered or given up."""
        with self._lock:
            return self._answered.get(stream_id, 0)

    def sql(self, service: str, statement: str) -> list[list[Any]]:
        """Rows of a query, asked directly and not through the proxy. Raises BrokenError when it fails."""
        target = self._services[service]
        reader = getattr(target, "read", None)
        if reader is None:
            raise BrokenError(f"{service} is no database that can be read with SQL (a PostgreSQL server is)")
        if not self.radius.holds(target.host):
            raise BrokenError(f"{service} cannot be read: {beyond(target.host)}")
        rows: list[list[Any]] = reader(statement)
        return rows

    def get(self, url: str) -> int:
        """The status that a GET of ``url`` is answered with, redirects not followed.

        Raises BrokenError for a host beyond the blast radius, and when no answer comes.
        """
        return status_of(url, self.radius)

    def hold(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` when the scenario has ended."""
        self._held.append(undo)

    def change(self, name: str, env: Mapping[str, str]) -> None:
        """Start a service anew with variables put over its own, at the same address; :meth:`prepare` takes them back.

        Raises BrokenError when it does not become ready.
        """
        self._services.change(name, env)

    def describe(self) -> dict[str, Any]:
        """For the run's description: the platform's words, and what services have to tell of themselves."""
        said = [told for service in self._services.values() if (told := service.told())]
        alerting = {
            "served_by": ", ".join(dict.fromkeys(told["version"] for told in said)),
            "changes": [change for told in said for change in told["changes"]],
        }
        return {**self.platform.describe(), **({"alerting": alerting} if said else {})}

    # Inside

    def _clear_failpoints(self, name: str) -> None:
        client = self.failpoints(name)
        for failpoint, terms in client.list().items():
            if terms:
                client.delete(failpoint)


def discard(_row: Row) -> None:
    """Between scenarios nobody listens."""
