"""An environment on Docker: a network, a container for each service, and containers for the proxies."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.engine.docker.proxy_server import ProxyServer
from chaoskit.engine.platform import Platform, Proxy, together
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.create import PROVIDERS
from chaoskit.services.docker import daemon
from chaoskit.services.docker.images import Note
from chaoskit.services.docker.network import Network
from chaoskit.services.docker.runtime import EVERYWHERE, ContainerRuntime
from chaoskit.services.runtime import ONLY_A_COMMAND, Runtime
from chaoskit.system.journal import Journal
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.sharded import RoutedToxiproxy


def direct(name: str) -> str:
    """The network name that leads to a service past its proxy."""
    return f"{name}-direct"


class DockerPlatform(Platform):
    """Proxies take the names of the services; the services themselves are ``NAME-direct``, on the same port."""

    def __init__(self, toxiproxy: str, name: str, journal: Journal, note: Note, seed: int | None = None) -> None:
        self._real = toxiproxy == "docker"
        self._seed = seed
        self._journal = journal
        self._note = note
        self._network = Network(name, journal)
        self._runtimes: dict[str, ContainerRuntime] = {}
        self._servers: list[ProxyServer] = []
        self._control: ToxiproxyControl | None = None
        self._watch: daemon.Watch | None = None
        self._version = ""

    def start(self, services: Mapping[str, ServiceSpec]) -> None:
        """Make the network and start the servers of the proxies, together."""
        if reason := daemon.refusal():
            raise BrokenError(reason)
        self._check(services)
        self._version = daemon.version()
        self._watch = daemon.Watch(self._journal.run_id)
        self._network.create()
        self._arrange(services)
        for name, spec in services.items():
            if spec.proxy:
                self._place(name, self.runtime(name, spec).listen[1])
        together([server.start for server in self._servers])
        self._join()
        self._control = RoutedToxiproxy({name: server.control for server in self._servers for name in server.ports})

    def runtime(self, name: str, spec: ServiceSpec) -> Runtime:
        """A container of the network, with its ports."""
        if name not in self._runtimes:
            self._runtimes[name] = ContainerRuntime(
                name,
                spec,
                self._network,
                self._journal,
                aliases=[direct(name)] if spec.proxy else [name, direct(name)],
                port=PROVIDERS.get(spec.provider).container_port if spec.provider else None,
                note=self._note,
            )
        return self._runtimes[name]

    def proxy(self, service: Service) -> Proxy:
        """Under the service's own name and port, on the network and published."""
        server = next(server for server in self._servers if service.name in server.ports)
        inside, outside = server.ports[service.name]
        host, port = service.upstream
        self.control.create_proxy(service.name, f"{host}:{port}", f"{EVERYWHERE}:{inside}")
        return Proxy((self._network.gateway, outside), (service.name, inside))

    @property
    def control(self) -> ToxiproxyControl:
        """All servers as one."""
        if self._control is None:
            raise BrokenError("the proxies' containers have not been started")
        return self._control

    @property
    def here(self) -> str:
        """The gateway of the network: nobody beyond this machine reaches it."""
        return self._network.gateway

    def describe(self) -> dict[str, Any]:
        """Toxiproxy and Docker with their versions."""
        return {
            "toxiproxy": f"{'docker' if self._real else 'embedded'} {self.control.version()}",
            "runtime": "docker",
            "docker": self._version,
        }

    def check(self) -> None:
        """Raises BrokenError when the daemon was lost, or a proxy's container ended."""
        if self._watch is not None:
            self._watch.check()
        for server in self._servers:
            server.check()

    def stop(self) -> None:
        """Remove the proxies, then the network."""
        with contextlib.ExitStack() as stack:
            if self._watch is not None:
                stack.callback(self._watch.stop)
            stack.callback(self._network.remove)
            for runtime in self._runtimes.values():
                stack.callback(runtime.discard)
            stack.callback(together, [server.stop for server in self._servers])
        self._servers.clear()
        self._runtimes.clear()
        self._watch = None

    def _check(self, services: Mapping[str, ServiceSpec]) -> None:
        """Raises BrokenError for services that cannot be run here."""
        for name, spec in services.items():
            if direct(name) in services:
                raise BrokenError(f"the service name {direct(name)} is taken on Docker: it leads to {name} itself")
            if spec.provider is None and spec.image is None and spec.build is None:
                raise BrokenError(ONLY_A_COMMAND.format(name=name))

    def _arrange(self, services: Mapping[str, ServiceSpec]) -> None:
        """Called when there is a network, before anything is placed."""

    def _join(self) -> None:
        """Called when the proxies' containers run, before they know any proxy."""

    def _place(self, name: str, port: int) -> None:
        """A server that can listen on the port, first fit: services with the same port need two servers."""
        for server in self._servers:
            if server.take(name, port):
                return
        server = ProxyServer(
            len(self._servers), self._network, self._journal, self._note, real=self._real, seed=self._seed
        )
        server.take(name, port)
        self._servers.append(server)
