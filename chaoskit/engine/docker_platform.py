"""An environment on Docker: a network, a container for each service, and containers for the proxies."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from chaoskit.clock import wait_for
from chaoskit.engine.platform import Platform, Proxy, together
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.journal import Journal
from chaoskit.ports import free_port
from chaoskit.services.base import Service
from chaoskit.services.create import PROVIDERS
from chaoskit.services.docker import daemon
from chaoskit.services.docker.images import Note
from chaoskit.services.docker.network import Network
from chaoskit.services.docker.running import RunningContainer
from chaoskit.services.docker.runtime import EVERYWHERE, ContainerRuntime
from chaoskit.services.own_code import ENVIRONMENT, PYTHON_IMAGE, own_code
from chaoskit.services.runtime import ContainerPlan, Runtime
from chaoskit.services.spec import ServiceSpec
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.routed import RoutedToxiproxy

START_LIMIT = 20.0
"""Seconds until a proxy's container must answer."""

Ports = tuple[int, int]
"""Inside and outside of a container."""


def direct(name: str) -> str:
    """The network name that leads to a service past its proxy."""
    return f"{name}-direct"


class DockerPlatform(Platform):
    """Proxies take the names of the services; the services themselves are ``NAME-direct``, on the same port."""

    def __init__(self, toxiproxy: str, name: str, journal: Journal, note: Note, seed: int | None = None) -> None:
        if toxiproxy != "embedded":
            raise ChaosError(
                f"--chaos-toxiproxy={toxiproxy}: with services in containers only the embedded Toxiproxy serves; "
                "legal: auto, embedded"
            )
        self._seed = seed
        self._journal = journal
        self._note = note
        self._network = Network(name, journal)
        self._runtimes: dict[str, ContainerRuntime] = {}
        self._servers: list[_Server] = []
        self._control: ToxiproxyControl | None = None
        self._watch: daemon.Watch | None = None
        self._version = ""

    def start(self, services: Mapping[str, ServiceSpec]) -> None:
        """Make the network and start the servers of the proxies, together."""
        if reason := daemon.refusal():
            raise BrokenError(reason)
        for name in services:
            if direct(name) in services:
                raise ChaosError(f"the service name {direct(name)} is taken on Docker: it leads to {name} itself")
        self._version = daemon.version()
        self._watch = daemon.Watch(self._journal.run_id)
        self._network.create()
        for name, spec in services.items():
            if spec.proxy:
                self._place(name, self.runtime(name, spec).listen[1])
        together([server.start for server in self._servers])
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

    def describe(self) -> dict[str, Any]:
        """Toxiproxy and Docker with their versions."""
        return {
            "toxiproxy": f"embedded {self.control.version()} (in {PYTHON_IMAGE})",
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

    def _place(self, name: str, port: int) -> None:
        """A server that can listen on the port, first fit: services with the same port need two servers."""
        for server in self._servers:
            if server.take(name, port):
                return
        server = _Server(len(self._servers), self._network, self._journal, self._note, self._seed)
        server.take(name, port)
        self._servers.append(server)


class _Server:
    """One container with an embedded Toxiproxy. ``ports``: inside and outside, by service."""

    def __init__(self, number: int, network: Network, journal: Journal, note: Note, seed: int | None) -> None:
        name = f"toxiproxy-{number}"
        spec = ServiceSpec(image=PYTHON_IMAGE)
        self.ports: dict[str, Ports] = {}
        self._seed = seed
        self._token = secrets.token_hex(16)  # the network's containers could reach the API too
        self._runtime = ContainerRuntime(name, spec, network, journal, aliases=[name], note=note)
        self._running: RunningContainer | None = None
        url = f"http://{self._runtime.host}:{self._runtime.port}"
        self.control = ToxiproxyControl(url, token=self._token)

    def take(self, name: str, port: int) -> bool:
        """Listen for a service, too. False when the port is taken."""
        if any(port == inside for inside in (self._runtime.port, *(ports[0] for ports in self.ports.values()))):
            return False
        self.ports[name] = (port, free_port(self._runtime.host))
        self._runtime.aliases.append(name)
        return True

    def start(self) -> None:
        """Start it and wait until it answers. Raises BrokenError."""
        runtime = self._runtime
        command = ["-m", "chaoskit.toxiproxy.server", "-host", EVERYWHERE, "-port", str(runtime.port)]
        if self._seed is not None:
            command += ["-seed", str(self._seed)]
        plan = ContainerPlan(PYTHON_IMAGE, entrypoint=["python3"], command=command, files=own_code("toxiproxy/server"))
        env = {**ENVIRONMENT, "TOXIPROXY_AUTH_TOKEN": self._token}
        # A dead container has no name: what Docker then asks of this machine's name servers must not take long.
        impatient = ["timeout:1", "attempts:1"]
        container = runtime.create(plan, env, dict(self.ports.values()), dns_opt=impatient)
        self._running = running = RunningContainer(container, container.name, self._journal, lambda *_: None, None)

        seen = ""

        def answers() -> bool:
            nonlocal seen
            try:
                return bool(self.control.version())
            except BrokenError as error:
                seen = str(error)
            return running.poll() is not None

        what = f"Toxiproxy in the container {container.name}"
        wait_for(answers, what=what, limit=START_LIMIT, last_seen=lambda: " / ".join([seen, *running.last_lines]))
        self.check()

    def check(self) -> None:
        """Raises BrokenError when it ended."""
        running = self._running
        if running is not None and running.poll() is not None:
            raise BrokenError(
                f"the container {running.container.name} ended with {running.poll()}; its last lines:\n  "
                + "\n  ".join(running.last_lines)
            )

    def stop(self) -> None:
        """Remove the container."""
        self.control.close()
        self._runtime.discard()
