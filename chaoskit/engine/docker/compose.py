"""An environment that is a team's Compose file: its containers, and ours in front of those that are proxied."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path

from chaoskit.engine.docker.platform import DockerPlatform
from chaoskit.engine.platform import Proxy
from chaoskit.language.compose import ComposedSpec
from chaoskit.language.model import Environment
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.docker.compose.project import ComposeProject
from chaoskit.services.docker.compose.runtime import ComposeRuntime
from chaoskit.services.docker.images import Note
from chaoskit.services.docker.runtime import EVERYWHERE
from chaoskit.services.runtime import Runtime
from chaoskit.system.journal import Journal


class ComposePlatform(DockerPlatform):
    """The proxies' containers have a network of ours, and join those of the services that they stand in front of."""

    def __init__(
        self,
        environment: Environment,
        folder: Path,
        toxiproxy: str,
        name: str,
        journal: Journal,
        note: Note,
        seed: int | None = None,
        allow: Collection[str] = (),
    ) -> None:
        super().__init__(toxiproxy, name, journal, note, seed)
        self._project = ComposeProject(environment.name, environment.compose, folder, name, journal, note, allow)
        self._composed: dict[str, ComposeRuntime] = {}

    def runtime(self, name: str, spec: ServiceSpec) -> Runtime:
        """A container that Compose has made."""
        assert isinstance(spec, ComposedSpec)
        if name not in self._composed:
            self._composed[name] = ComposeRuntime(name, spec, self._project, self._journal)
        return self._composed[name]

    def proxy(self, service: Service) -> Proxy:
        """In front of its first port; its further ports are only passed on, as its name leads to us now."""
        made = super().proxy(service)
        facts = self._project.facts[service.name]
        for port in facts.ports[1:]:
            further = _further(service.name, port)
            self.control.create_proxy(further, f"{facts.service}:{port}", f"{EVERYWHERE}:{port}")
        return made

    def stop(self) -> None:
        """Remove all of the project, then the proxies and their network."""
        with contextlib.ExitStack() as stack:
            stack.callback(super().stop)
            stack.callback(self._project.remove)
        self._composed.clear()

    def _check(self, services: Mapping[str, ServiceSpec]) -> None:
        """The Compose file was looked at when it was loaded."""

    def _arrange(self, services: Mapping[str, ServiceSpec]) -> None:
        composed = {name: spec for name, spec in services.items() if isinstance(spec, ComposedSpec)}
        self._project.create(self._network.gateway, composed)

    def _place(self, name: str, port: int) -> None:
        super()._place(name, port)
        for further in self._project.facts[name].ports[1:]:
            super()._place(_further(name, further), further)

    def _join(self) -> None:
        """Take the names of the services, each on the networks where it had them."""
        ids = self._project.network_ids()
        for server in self._servers:
            names: dict[str, list[str]] = {}
            for service in (name for name in server.ports if name in self._project.facts):
                for network, its in self._project.facts[service].networks.items():
                    names.setdefault(network, []).extend(its)
            for network, its in names.items():
                server.join(ids[network], its)


def _further(name: str, port: int) -> str:
    return f"{name}-{port}"
