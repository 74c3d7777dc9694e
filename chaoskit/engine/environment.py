"""A running environment: services, one proxy in front of each, and what faults may reach of them.

It is started once and reset between scenarios. When a scenario (or its control) changes a service, only that
service is started anew, at the same address.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chaoskit.engine.interposer import Interposer
from chaoskit.errors import BrokenError
from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.history.rows import Row
from chaoskit.journal import Journal
from chaoskit.observers.tap_poller import TapPoller
from chaoskit.ports import free_port
from chaoskit.scenario.model import Environment
from chaoskit.scenario.service import ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.create import PROVIDERS
from chaoskit.services.process import ProcessService
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
        toxiproxy: str = "embedded",
    ) -> None:
        self.environment = environment
        self.journal = journal
        self._traffic = traffic
        self._folder = folder
        self._emit: Callable[[Row], None] = discard
        self._services: dict[str, Service] = {}
        self._specs: dict[str, ServiceSpec] = {}
        self._proxies: dict[str, tuple[str, int]] = {}
        self.interposer = Interposer(toxiproxy, folder / "toxiproxy", journal)
        self._entry: int | None = None
        self._held: list[Callable[[], None]] = []
        self._answered: dict[str, int] = {}
        self._lock = threading.Lock()
        self._fresh = True
        self.tainted = False

    # Life

    def start(self) -> None:
        """Start Toxiproxy, then the services: providers one after the other, then the commands together."""
        self._entry = self.journal.make_folder(self._folder)
        self.interposer.start()
        self.poller = TapPoller(self.toxiproxy, discard)
        for name, spec in self.environment.services.items():
            self._services[name] = self._make(name, spec)
        for name, service in self._services.items():
            if service.spec.proxy and service.port:
                made = self.toxiproxy.create_proxy(name, f"{service.host}:{service.port}", f"127.0.0.1:{free_port()}")
                self._proxies[name] = (made.host, made.port)
        self._start(self._services)

    def stop(self) -> None:
        """End everything, latest first. One that fails does not keep the others running."""
        with contextlib.ExitStack() as stack:
            if self._entry is not None:
                stack.callback(self.journal.undo, self._entry)
            stack.callback(self.interposer.stop)
            for service in self._services.values():
                stack.callback(service.stop)
        self._services.clear()

    def prepare(self, wanted: Environment) -> bool:
        """Make it as good as new, with the services as ``wanted`` says. True when one of them was started for it.

        Raises BrokenError.
        """
        self.heal()
        changed = {
            name: self._make(name, spec, self._services[name].port)
            for name, spec in wanted.services.items()
            if self._specs[name] != spec
        }
        ill = [name for name, service in self._services.items() if self.tainted and service.spec.provider is None]
        for name in {*changed, *ill}:
            self._services[name].stop()
        self._services.update(changed)
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
        """Raises BrokenError when Toxiproxy died."""
        self.interposer.check()

    def addresses(self) -> dict[str, dict[str, Any]]:
        """What templates may ask of each service. ``url``, ``host`` and ``port`` lead through its proxy."""
        found: dict[str, dict[str, Any]] = {}
        for name, service in self._services.items():
            host, port = self._proxies.get(name, (service.host, service.port))
            found[name] = {
                "host": host,
                "port": port,
                "url": service.url(host, port),
                "direct_url": service.url(),
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
        return self.interposer.control

    def service(self, name: str) -> Service:
        """A running service."""
        return self._services[name]

    def proxied(self, name: str) -> tuple[str, int]:
        """Host and port of the proxy in front of a service."""
        if name not in self._proxies:
            raise BrokenError(f"no proxy stands in front of {name}: it has no port, or proxy: false")
        return self._proxies[name]

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

    def hold(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` when the scenario has ended."""
        self._held.append(undo)

    # Inside

    def _make(self, name: str, spec: ServiceSpec, port: int | None = None) -> Service:
        """A service whose templates are rendered; ``port`` is kept when it takes the place of another."""
        self._specs[name] = spec
        if port is not None:
            spec = spec.model_copy(update={"port": port})
        rest: dict[str, Any] = {
            "folder": self._folder / name,
            "journal": self.journal,
            "emit": lambda row: self._emit(row),
        }
        if spec.provider is not None:
            return PROVIDERS.get(spec.provider)(name, spec, **rest)
        folder = self.environment.folder
        cwd = (folder / spec.cwd).resolve() if spec.cwd else folder
        return _Command(self, name, spec.model_copy(update={"cwd": str(cwd)}), **rest)

    def _start(self, services: Mapping[str, Service]) -> None:
        providers = [service for service in services.values() if service.spec.provider is not None]
        commands = [service for service in services.values() if service.spec.provider is None]
        for service in providers:
            service.start()
        if commands:
            with ThreadPoolExecutor(len(commands), thread_name_prefix="chaoskit-start") as pool:
                for future in [pool.submit(service.start) for service in commands]:
                    future.result()


class _Command(ProcessService):
    """A service of one's own, whose settings may name the addresses of the others."""

    def __init__(self, live: LiveEnvironment, name: str, spec: ServiceSpec, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self._live = live

    @property
    def stop_signal(self) -> int:
        """When an environment is changed or ends, nobody waits for an orderly shutdown."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """The fault ``restart`` is an orderly one."""
        return signal.Signals[f"SIG{self.spec.stop.signal}"]

    def environment(self) -> dict[str, str]:
        """The rendered environment variables."""
        addresses = self._live.addresses()
        return {name: render(value, addresses) for name, value in super().environment().items()}

    def argv(self) -> list[str]:
        """The rendered command."""
        addresses = self._live.addresses()
        return [render(word, addresses) for word in super().argv()]


def discard(_row: Row) -> None:
    """Between scenarios nobody listens."""
