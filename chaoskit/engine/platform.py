"""What an environment stands on: where its services run, and how the proxies in front of them are reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.base.blast_radius import LOOPBACK, BlastRadius
from chaoskit.engine.toxiproxy_server import Interposer
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.runtime import ProcessRuntime, Runtime
from chaoskit.system.journal import Journal
from chaoskit.system.ports import free_port
from chaoskit.toxiproxy.client import ToxiproxyControl

Address = tuple[str, int]


@dataclass(frozen=True)
class Proxy:
    """Where a proxy is reached by us (``outside``) and by the services (``inside``)."""

    outside: Address
    inside: Address


class Platform(ABC):
    """One per environment. Methods that change something raise BrokenError; :meth:`stop` may always be called."""

    @abstractmethod
    def start(self, services: Mapping[str, ServiceSpec]) -> None:
        """Make ready for these services: servers for the proxies, networks."""

    @abstractmethod
    def runtime(self, name: str, spec: ServiceSpec) -> Runtime:
        """Where a service runs, always the same for the same name."""

    @abstractmethod
    def proxy(self, service: Service) -> Proxy:
        """Put a proxy in front of a service."""

    @property
    @abstractmethod
    def control(self) -> ToxiproxyControl:
        """The Toxiproxy server. Raises BrokenError before :meth:`start`."""

    @property
    def here(self) -> str:
        """This machine's address as the services reach it, once :meth:`start` was called."""
        return "127.0.0.1"

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """For the run's description: ``toxiproxy`` and ``runtime`` with their versions."""

    @abstractmethod
    def check(self) -> None:
        """Raises BrokenError when something that all services need has died."""

    @abstractmethod
    def stop(self) -> None:
        """End and remove what :meth:`start` made, once the services have ended."""


class ProcessPlatform(Platform):
    """Processes of this machine, and a Toxiproxy that is one of them (or was there before us)."""

    def __init__(
        self, toxiproxy: str, folder: Path, journal: Journal, seed: int | None = None, radius: BlastRadius = LOOPBACK
    ) -> None:
        self._journal = journal
        self._interposer = Interposer(toxiproxy, folder / "toxiproxy", journal, seed, radius)
        self._runtimes: dict[str, Runtime] = {}

    def start(self, services: Mapping[str, ServiceSpec]) -> None:  # noqa: ARG002  # processes need no preparation
        """Start Toxiproxy."""
        self._interposer.start()

    def runtime(self, name: str, spec: ServiceSpec) -> Runtime:
        """Ports of its own."""
        if name not in self._runtimes:
            self._runtimes[name] = ProcessRuntime(spec, self._journal)
        return self._runtimes[name]

    def proxy(self, service: Service) -> Proxy:
        """On a free port of loopback."""
        host, port = service.upstream
        made = self.control.create_proxy(service.name, f"{host}:{port}", f"127.0.0.1:{free_port()}")
        return Proxy((made.host, made.port), (made.host, made.port))

    @property
    def control(self) -> ToxiproxyControl:
        """The Toxiproxy server."""
        return self._interposer.control

    def describe(self) -> dict[str, Any]:
        """Which Toxiproxy serves."""
        return {"toxiproxy": self._interposer.describe(), "runtime": "process"}

    def check(self) -> None:
        """Raises BrokenError when Toxiproxy died."""
        self._interposer.check()

    def stop(self) -> None:
        """End Toxiproxy."""
        self._interposer.stop()


def together(works: Sequence[Callable[[], None]]) -> None:
    """Do several things at once, all of them to their end, and raise what the first that failed has raised."""
    if works:
        with ThreadPoolExecutor(len(works), thread_name_prefix="chaoskit-services") as pool:
            doing = [pool.submit(work) for work in works]
        for done in doing:
            done.result()
