"""Services as containers: each on its environment's network, with ports that we reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.language.service import ServiceSpec
from chaoskit.services.docker import undo
from chaoskit.services.docker.container import Container
from chaoskit.services.docker.daemon import ask, client
from chaoskit.services.docker.images import Note, ensure
from chaoskit.services.docker.network import Network
from chaoskit.services.docker.running import RunningContainer
from chaoskit.services.runtime import ContainerPlan, Launchable, OnExit, Running, Runtime
from chaoskit.system.journal import Journal
from chaoskit.system.pids import own_mark
from chaoskit.system.ports import free_port
from chaoskit.system.priority import SHARES
from chaoskit.system.processes import OnLine

EVERYWHERE = "0.0.0.0"  # noqa: S104  # of the container's own network


class ContainerRuntime(Runtime):
    """A container of an environment's network.

    ``aliases`` are its names there (more may be added until it is launched). Its port inside is
    ``spec.port``, else ``port`` (a provider's own), else the number that it is published at.
    """

    contained = True

    def __init__(
        self,
        name: str,
        spec: ServiceSpec,
        network: Network,
        journal: Journal,
        *,
        aliases: Sequence[str],
        port: int | None = None,
        note: Note,
    ) -> None:
        self._network = network
        self._journal = journal
        self.aliases = list(aliases)
        self._name = f"{network.name}-{name}"
        self._service = name
        self._note = note
        self._entry: int | None = None
        self._has_health = False
        self._tmpfs = {path: f"size={size:.0f}" for path, size in spec.tmpfs.items()}
        self._container: Container | None = None
        self._made: tuple[ContainerPlan, dict[str, str]] | None = None
        self.host = network.gateway
        self.port = free_port(self.host)
        inside = spec.port if spec.port != "auto" else port or self.port
        self.inside = (self.aliases[0] if self.aliases else name, inside)
        self.listen = (EVERYWHERE, inside)
        self.failpoints_port = free_port(self.host) if spec.failpoints else None
        self.failpoints_listen = f"{EVERYWHERE}:{self.failpoints_port}"

    @property
    def container(self) -> Container | None:
        """The container, once it was started."""
        return self._container

    def launch(self, service: Launchable, on_line: OnLine, on_exit: OnExit | None) -> Running:
        """Start the container, a new one if there is none or the service is another one now."""
        plan, env = service.plan(), service.environment()
        if self._container is None or self._made != (plan, env):
            self.discard()
            self.create(plan, env)
            self._made = (plan, env)
        assert self._container is not None
        return RunningContainer(self._container, service.name, self._journal, on_line, on_exit)

    def create(
        self, plan: ContainerPlan, env: dict[str, str], ports: dict[int, int] | None = None, **host: Any
    ) -> Container:
        """Make the container, not started. ``ports`` are further ones: inside to outside; ``host`` as Docker's."""
        image = ensure(plan, self._note)
        published = {self.listen[1]: self.port, **(ports or {})}
        if self.failpoints_port is not None:
            published[self.failpoints_port] = self.failpoints_port
        self._entry = undo.add(self._journal, "container", self._name)
        what = f"create the container {self._name}"
        made = ask(what, lambda: self._create(client().api, image, plan, env, published, host))
        self._container = Container(made, self._name, self._network.id, self.aliases)
        if plan.files:
            self._container.put(plan.files)
        test = (self._container.inspect()["Config"].get("Healthcheck") or {}).get("Test")
        self._has_health = bool(test) and test != ["NONE"]
        return self._container

    def health(self) -> str | None:
        """What Docker says of the image's own health check."""
        if self._container is None or not self._has_health:
            return None
        health = self._container.inspect()["State"].get("Health") or {}
        if health.get("Status") == "healthy":
            return ""
        last = (health.get("Log") or [{}])[-1].get("Output", "")
        return f"the image's health check says {health.get('Status', 'nothing')} {' '.join(last.split())}".rstrip()

    def discard(self) -> None:
        """Remove the container with its data."""
        if self._entry is not None:
            self._journal.undo(self._entry)
        self._entry = self._container = self._made = None

    def _create(
        self,
        api: Any,
        image: str,
        plan: ContainerPlan,
        env: dict[str, str],
        ports: dict[int, int],
        host: dict[str, Any],
    ) -> str:
        made = api.create_container(
            image,
            name=self._name,
            hostname=self.aliases[0],  # which Docker makes another name on the network: not the proxy's
            entrypoint=plan.entrypoint,
            command=plan.command,
            user=plan.user or None,
            environment={**plan.env, **env, **own_mark()},
            labels={**undo.labels(self._journal), "chaoskit.service": self._service},
            ports=list(ports),
            host_config=api.create_host_config(
                network_mode=self._network.name,
                port_bindings={inside: (self.host, outside) for inside, outside in ports.items()},
                # Without an init process a program as pid 1 ignores every signal that it has no handler for.
                init=True,
                tmpfs=self._tmpfs,
                **{"cpu_shares": SHARES, **host},
            ),
            networking_config=api.create_networking_config(
                {self._network.name: api.create_endpoint_config(aliases=self.aliases)}
            ),
        )
        for warning in made.get("Warnings") or ():
            self._note(f"{self._name}: {warning}")
        if not made.get("Id"):
            raise BrokenError(f"Docker made no container {self._name}: {made}")
        return str(made["Id"])
