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
from chaoskit.engine.command import Command
from chaoskit.engine.links import status_of
from chaoskit.engine.neighbourhood import Neighbourhood
from chaoskit.engine.platform import Address, Platform, Proxy, together
from chaoskit.errors import BrokenError
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.history.rows import Row
from chaoskit.journal import Journal
from chaoskit.observers.tap_poller import TapPoller
from chaoskit.scenario.compose import ComposedSpec
from chaoskit.scenario.model import Environment
from chaoskit.scenario.service import ServiceSpec
from chaoskit.scenario.template import RECEIVER
from chaoskit.services.base import Service
from chaoskit.services.create import PROVIDERS
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.traffic.generator import TrafficGenerator
from chaoskit.traffic.spec import Stream
from chaoskit.traffic.templates import render

NOTED_HEADERS = ["idempotency-key", "traceparent"]


class LiveEnvironment:
    """The services of one environment while they run. It is the :class:`~chaoskit.faults.base.World` of faults."""

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
        self._services: dict[str, Service] = {}
        self._specs: dict[str, ServiceSpec] = {}
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
        self.tainted = False

    # Life

    def start(self) -> None:
        """Start Toxiproxy, then the services: first the providers, then all others together."""
        self._entry = self.journal.make_folder(self.folder)
        self.platform.start(self.environment.services)
        self.receiver.start(self.platform.here)
        self.poller = TapPoller(self.toxiproxy, discard)
        for name, spec in self.environment.services.items():
            self._services[name] = self._make(name, spec)
        self._neighbourhood.introduce(self._services)
        for name, service in self._services.items():
            if service.spec.proxy and service.port:
                self._proxies[name] = self.platform.proxy(service)
        self._start(self._services)

    def stop(self) -> None:
        """End everything. One that fails does not keep the others running."""
        with contextlib.ExitStack() as stack:
            if self._entry is not None:
                stack.callback(self.journal.undo, self._entry)
            stack.callback(self.platform.stop)
            stack.callback(self.receiver.stop)
            stack.callback(self.alerts.heal)
            stack.callback(together, [service.stop for service in self._services.values()])
        self._services.clear()

    def prepare(self, wanted: Environment) -> bool:
        """Make it as good as new, with the services as ``wanted`` says. True when one of them was started for it.

        Raises BrokenError.
        """
        self.heal()
        changed = {name: self._make(name, spec) for name, spec in wanted.services.items() if self._specs[name] != spec}
        worn = [name for name, service in self._services.items() if service.worn]
        # A provider that is started anew is empty: whoever prepared something in it at its own start does so again.
        emptied = any(self._specs[name].provider is not None for name in {*changed, *worn})
        ill = [
            name
            for name, service in self._services.items()
            if (self.tainted or emptied) and service.spec.provider is None
        ]
        together([self._services[name].stop for name in {*changed, *worn, *ill}])
        self._services.update(changed)
        self._neighbourhood.introduce(changed)
        self._neighbourhood.restore()
        dead = {name: service for name, service in self._services.items() if not service.alive()}
        for service in self._services.values():
            if service.alive():
                service.reset()
        self._start(dead)
        started, self._fresh, self.tainted = bool(dead) or self._fresh, False, False
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
                with contextlib.suppress(FailpointError):
                    client = self.failpoints(name)
                    for failpoint, terms in client.list().items():
                        if terms:
                            client.delete(failpoint)

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
        for name, service in self._services.items():
            if name in self._proxies and service.protocol == "http":
                self.toxiproxy.set_tap(name, id_headers=id_headers, note_headers=NOTED_HEADERS)
        return self.poller

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
        found: dict[str, dict[str, Any]] = {RECEIVER: self.receiver.addresses()}
        for name, service in self._services.items():
            direct: Address = service.inside if inside else (service.host, service.port)
            proxy = self._proxies.get(name) if service.upstream == service.inside else None
            host, port = direct if proxy is None else proxy.inside if inside else proxy.outside
            found[name] = {
                "host": host,
                "port": port,
                "url": service.url(host, port),
                "direct_url": service.url(*direct),
                "failpoints_url": service.failpoints_url or "",
            }
        return found

    @property
    def services(self) -> Mapping[str, Service]:
        """The running services by name."""
        return self._services

    # World

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
        reader = getattr(self._services[service], "read", None)
        if reader is None:
            raise BrokenError(f"{service} is no database that can be read with SQL")
        rows: list[list[Any]] = reader(statement)
        return rows

    def get(self, url: str) -> int:
        """The status that a GET of ``url`` is answered with, redirects not followed.

        Raises BrokenError for a host beyond the blast radius, and when no answer comes.
        """
        return status_of(url, self.allow)

    def hold(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` when the scenario has ended."""
        self._held.append(undo)

    def change(self, name: str, env: Mapping[str, str]) -> None:
        """Start a service anew with variables put over its own, at the same address; :meth:`prepare` takes them back.

        Raises BrokenError when it does not become ready.
        """
        service = self._services[name]
        # Told first: whatever becomes of this, the next scenario wants other settings and gets them.
        self._specs[name] = self._specs[name].model_copy(update={"env": {**self._specs[name].env, **env}})
        service.halt()
        service.stop()
        service.spec = service.spec.model_copy(update={"env": {**service.spec.env, **env}})
        service.start()

    # Inside

    def _make(self, name: str, spec: ServiceSpec) -> Service:
        """A service whose templates are rendered, at the same address when it takes the place of another."""
        self._specs[name] = spec
        rest: dict[str, Any] = {
            "runtime": self.platform.runtime(name, spec),
            "folder": self.folder / name,
            "journal": self.journal,
            "emit": lambda row: self._emit(row),
        }
        if isinstance(spec, ComposedSpec):
            from chaoskit.services.docker.compose.service import ComposeService

            return ComposeService(name, spec, render=lambda text: render(text, self.addresses(inside=True)), **rest)
        folder = self.environment.folder
        if spec.build is not None:
            build = spec.build.model_copy(update={"context": str((folder / spec.build.context).resolve())})
            spec = spec.model_copy(update={"build": build})
        if spec.provider is not None:
            return PROVIDERS.get(spec.provider)(name, spec, **rest)
        cwd = (folder / spec.cwd).resolve() if spec.cwd else folder
        return Command(lambda: self.addresses(inside=True), name, spec.model_copy(update={"cwd": str(cwd)}), **rest)

    def _start(self, services: Mapping[str, Service]) -> None:
        if self.environment.compose:  # each waits for what its depends_on says
            together([service.start for service in services.values()])
            return
        together([service.start for service in services.values() if service.spec.provider is not None])
        together([service.start for service in services.values() if service.spec.provider is None])
        together([service.settle for service in self._services.values()])

    def describe(self) -> dict[str, Any]:
        """For the run's description: the platform's words, and what services have to tell of themselves."""
        said = [told for service in self._services.values() if (told := service.told())]
        alerting = {
            "served_by": ", ".join(dict.fromkeys(told["version"] for told in said)),
            "changes": [change for told in said for change in told["changes"]],
        }
        return {**self.platform.describe(), **({"alerting": alerting} if said else {})}


def discard(_row: Row) -> None:
    """Between scenarios nobody listens."""
