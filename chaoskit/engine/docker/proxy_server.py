"""The proxies of an environment on Docker: containers that stand on its network under the names of the services."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.engine.docker.toxiproxy import IMAGE
from chaoskit.language.service import ServiceSpec
from chaoskit.services.docker import undo
from chaoskit.services.docker.container import Container
from chaoskit.services.docker.daemon import ask, client
from chaoskit.services.docker.images import Note, ensure
from chaoskit.services.docker.network import Network
from chaoskit.services.docker.running import RunningContainer
from chaoskit.services.docker.runtime import EVERYWHERE, ContainerRuntime
from chaoskit.services.own_code import ENVIRONMENT, PYTHON_IMAGE, own_code
from chaoskit.services.runtime import ContainerPlan
from chaoskit.system.journal import Journal
from chaoskit.system.ports import free_port
from chaoskit.system.priority import SHARES
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.server.onlink import ON_LINK
from chaoskit.toxiproxy.tapped_original import FrontedToxiproxy

START_LIMIT = 20.0
"""Seconds until a proxy's container must answer."""

Ports = tuple[int, int]
"""Inside and outside of a container."""


class ProxyServer:
    """A container with an embedded Toxiproxy. ``ports`` are those that it listens on, by service.

    ``real``: the original Toxiproxy stands behind it, in a container of the same network namespace.
    """

    def __init__(
        self, number: int, network: Network, journal: Journal, note: Note, *, real: bool, seed: int | None
    ) -> None:
        name = f"toxiproxy-{number}"
        self.ports: dict[str, Ports] = {}
        self._seed = seed
        self._journal = journal
        self._token = secrets.token_hex(16)  # the network's containers could reach the API too
        self._runtime = ContainerRuntime(
            name, ServiceSpec(image=PYTHON_IMAGE), network, journal, aliases=[name], note=note
        )
        self._running: list[RunningContainer] = []
        url = f"http://{self._runtime.host}:{self._runtime.port}"
        self._tap = ToxiproxyControl(url, token=self._token)
        self._original = _Original(f"{network.name}-{name}-original", network, journal, note) if real else None
        self.control = self._tap
        if self._original is not None:
            self.control = FrontedToxiproxy(url, self._original.control, "", token=self._token)

    def take(self, name: str, port: int) -> bool:
        """Listen for a service, too. False when the port is taken."""
        taken = {self._runtime.port, *(inside for inside, _ in self.ports.values())}
        if port in taken or (self._original is not None and port == self._original.port):
            return False
        self.ports[name] = (port, free_port(self._runtime.host))
        self._runtime.aliases.append(name)
        return True

    def start(self) -> None:
        """Start it and wait until it answers. Raises BrokenError."""
        command = ["-m", "chaoskit.toxiproxy.server", "-host", EVERYWHERE, "-port", str(self._runtime.port)]
        command.append(f"-upstreams={ON_LINK}")
        if self._seed is not None:
            command += ["-seed", str(self._seed)]
        plan = ContainerPlan(
            PYTHON_IMAGE,
            entrypoint=["python3"],
            command=command,
            files=own_code("base/api_guard.py", "base/blast_radius.py", "toxiproxy/server"),
        )
        env = {**ENVIRONMENT, "TOXIPROXY_AUTH_TOKEN": self._token}
        ports = dict(self.ports.values())
        if self._original is not None:
            ports[self._original.port] = self._original.port
        # A dead container has no name: what Docker then asks of this machine's name servers must not take long.
        impatient = ["timeout:1", "attempts:1"]
        container = self._runtime.create(plan, env, ports, dns_opt=impatient, cpu_shares=2 * SHARES)
        self._follow(container, self._tap)
        if self._original is not None:
            self._follow(self._original.create(container), self._original.control)

    def join(self, network: str, aliases: list[str]) -> None:
        """Be on a further network too, under these names. Raises BrokenError."""
        container = self._runtime.container
        assert container is not None, "it was started"
        connect = client().api.connect_container_to_network
        ask(f"connect {container.name}", lambda: connect(container.id, network, aliases=aliases))

    def check(self) -> None:
        """Raises BrokenError when it ended."""
        for running in self._running:
            if (status := running.poll()) is not None:
                lines = "\n  ".join(running.last_lines)
                raise BrokenError(f"the container {running.name} ended with {status}; its last lines:\n  {lines}")

    def stop(self) -> None:
        """Remove it."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._runtime.discard)
            if self._original is not None:
                stack.callback(self._original.discard)
            stack.callback(self._tap.close)
            stack.callback(self.control.close)
        self._running.clear()

    def _follow(self, container: Container, control: ToxiproxyControl) -> None:
        running = RunningContainer(container, container.name, self._journal, lambda *_: None, None)
        self._running.append(running)
        seen = ""

        def answers() -> bool:
            nonlocal seen
            try:
                return bool(control.version())
            except BrokenError as error:
                seen = str(error)
            return running.poll() is not None

        what = f"Toxiproxy in the container {container.name}"
        wait_for(answers, what=what, limit=START_LIMIT, last_seen=lambda: " / ".join([seen, *running.last_lines]))
        self.check()


class _Original:
    """The original Toxiproxy. Its proxies listen on the loopback that it shares with the tap before it."""

    def __init__(self, name: str, network: Network, journal: Journal, note: Note) -> None:
        self.port = free_port(network.gateway)
        self.control = ToxiproxyControl(f"http://{network.gateway}:{self.port}")
        self._name = name
        self._network = network
        self._journal = journal
        self._note = note
        self._entry: int | None = None

    def create(self, tap: Container) -> Container:
        """Make its container, not started."""
        image = ensure(ContainerPlan(IMAGE), self._note)
        self._entry = undo.add(self._journal, "container", self._name)

        def make(api: Any) -> str:
            return str(
                api.create_container(
                    image,
                    command=[f"-host={EVERYWHERE}", f"-port={self.port}"],
                    name=self._name,
                    labels=undo.labels(self._journal),
                    host_config=api.create_host_config(network_mode=f"container:{tap.id}", init=True),
                )["Id"]
            )

        made = ask(f"create the container {self._name}", lambda: make(client().api))
        return Container(made, self._name, self._network.id, [])

    def discard(self) -> None:
        """Remove it."""
        if self._entry is not None:
            self._journal.undo(self._entry)
            self._entry = None
