"""Where a service of a Compose project runs."""

from __future__ import annotations

from chaoskit.language.compose import ComposedSpec
from chaoskit.services.docker.compose.container import ComposeContainer
from chaoskit.services.docker.compose.project import ComposeProject
from chaoskit.services.docker.compose.rewrite import Facts
from chaoskit.services.docker.running import RunningContainer
from chaoskit.services.runtime import Launchable, OnExit, Running, Runtime
from chaoskit.system.journal import Journal
from chaoskit.system.processes import OnLine


class ComposeRuntime(Runtime):
    """A container that Compose has made and we start. ``port`` is 0 where nobody knows what it listens on.

    Where no network of it can be reached from outside, nothing is published: then ``host`` is the container's own
    address, which may be another after a restart.
    """

    contained = True

    def __init__(self, name: str, spec: ComposedSpec, project: ComposeProject, journal: Journal) -> None:
        self.project = project
        self.facts: Facts = project.facts[name]
        self._name = name
        self._journal = journal
        self._container: ComposeContainer | None = None
        inside = self.facts.ports[0] if self.facts.ports else 0
        self.host = project.gateway
        self.port = inside if self.facts.hidden else project.published[name]
        self.inside = (self.facts.service, inside)
        self.listen = ("0.0.0.0", inside)  # noqa: S104  # of the container's own networks
        self.failpoints_port = project.failpoints.get(name) if spec.failpoints else None
        self.failpoints_listen = f"0.0.0.0:{self.failpoints_port}"

    @property
    def container(self) -> ComposeContainer | None:
        """The container, once it was started."""
        return self._container

    def launch(self, service: Launchable, on_line: OnLine, on_exit: OnExit | None) -> Running:
        """Start the container, a new one if there is none or its variables are others now."""
        self._container = self.project.container(self._name, service.environment())
        running = RunningContainer(self._container, service.name, self._journal, on_line, on_exit)
        if self.facts.hidden:
            networks = self._container.inspect()["NetworkSettings"]["Networks"].values()
            self.host = next((its["IPAddress"] for its in networks if its["IPAddress"]), self.host)
        return running

    def health(self) -> str | None:
        """What Docker says of its health check."""
        if self._container is None:
            return None
        health = self._container.inspect()["State"].get("Health")
        if health is None:
            return None
        if health.get("Status") == "healthy":
            return ""
        last = (health.get("Log") or [{}])[-1].get("Output", "")
        return f"its health check says {health.get('Status', 'nothing')} {' '.join(last.split())}".rstrip()

    def discard(self) -> None:
        """Remove the container; what is in volumes with names stays as long as the environment."""
        self.project.discard(self._name)
        self._container = None
