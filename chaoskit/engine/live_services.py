"""The services of an environment while they run: each made as its spec says, and anew when another spec is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chaoskit.engine.command import Command
from chaoskit.engine.platform import Platform, together
from chaoskit.journal import Journal
from chaoskit.scenario.compose import ComposedSpec
from chaoskit.scenario.model import Environment
from chaoskit.scenario.service import ServiceSpec
from chaoskit.services.base import Emit, Service
from chaoskit.services.create import PROVIDERS
from chaoskit.traffic.templates import render


class LiveServices(Mapping[str, Service]):
    """By name. Each has a folder of its own in ``folder``; their rows go to ``emit``.

    ``addresses`` gives what the templates of a spec may ask, as services see it; it is asked at each start. Methods
    that start or end something raise BrokenError.
    """

    def __init__(
        self,
        environment: Environment,
        platform: Platform,
        *,
        folder: Path,
        journal: Journal,
        emit: Emit,
        addresses: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._environment = environment
        self._platform = platform
        self._folder = folder
        self._journal = journal
        self._emit = emit
        self._addresses = addresses
        self._services: dict[str, Service] = {}
        self._specs: dict[str, ServiceSpec] = {}

    def __getitem__(self, name: str) -> Service:
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def make(self) -> None:
        """Make all that the environment has. They have addresses from now on, and do not run yet."""
        for name, spec in self._environment.services.items():
            self._services[name] = self._make(name, spec)

    def start(self) -> None:
        """Start all: first the providers, then the others together."""
        self._start(self._services)

    def stop(self) -> None:
        """End all. One that fails does not keep the others running."""
        together([service.stop for service in self._services.values()])
        self._services.clear()

    def exchange(self, wanted: Mapping[str, ServiceSpec], *, tainted: bool) -> Mapping[str, Service]:
        """End those that cannot stay as they are; :meth:`renew` starts them again.

        Gives those that were made anew, at the same address, because ``wanted`` describes them otherwise.
        ``tainted``: nobody knows what the latest scenario left in the services that are no providers.
        """
        changed = {name: self._make(name, spec) for name, spec in wanted.items() if self._specs[name] != spec}
        worn = [name for name, service in self._services.items() if service.worn]
        # A provider that is started anew is empty: whoever prepared something in it at its own start does so again.
        emptied = any(self._specs[name].provider is not None for name in {*changed, *worn})
        ill = [
            name for name, service in self._services.items() if (tainted or emptied) and service.spec.provider is None
        ]
        together([self._services[name].stop for name in {*changed, *worn, *ill}])
        self._services.update(changed)
        return changed

    def renew(self) -> bool:
        """Make those that run as good as new, and start those that do not. True when one was started."""
        dead = {name: service for name, service in self._services.items() if not service.alive()}
        for service in self._services.values():
            if service.alive():
                service.reset()
        self._start(dead)
        return bool(dead)

    def change(self, name: str, env: Mapping[str, str]) -> None:
        """Start one anew with variables put over its own, at the same address; :meth:`exchange` takes them back."""
        service = self._services[name]
        # Told first: whatever becomes of this, the next scenario wants other settings and gets them.
        self._specs[name] = self._specs[name].model_copy(update={"env": {**self._specs[name].env, **env}})
        service.halt()
        service.stop()
        service.spec = service.spec.model_copy(update={"env": {**service.spec.env, **env}})
        service.start()

    # Inside

    def _make(self, name: str, spec: ServiceSpec) -> Service:
        self._specs[name] = spec
        rest: dict[str, Any] = {
            "runtime": self._platform.runtime(name, spec),
            "folder": self._folder / name,
            "journal": self._journal,
            "emit": self._emit,
        }
        if isinstance(spec, ComposedSpec):
            from chaoskit.services.docker.compose.service import ComposeService

            return ComposeService(name, spec, render=lambda text: render(text, self._addresses()), **rest)
        base = self._environment.folder
        if spec.build is not None:
            build = spec.build.model_copy(update={"context": str((base / spec.build.context).resolve())})
            spec = spec.model_copy(update={"build": build})
        if spec.provider is not None:
            return PROVIDERS.get(spec.provider)(name, spec, **rest)
        cwd = (base / spec.cwd).resolve() if spec.cwd else base
        return Command(self._addresses, name, spec.model_copy(update={"cwd": str(cwd)}), **rest)

    def _start(self, services: Mapping[str, Service]) -> None:
        if self._environment.compose:  # each waits for what its depends_on says
            together([service.start for service in services.values()])
            return
        together([service.start for service in services.values() if service.spec.provider is not None])
        together([service.start for service in services.values() if service.spec.provider is None])
        together([service.settle for service in self._services.values()])
