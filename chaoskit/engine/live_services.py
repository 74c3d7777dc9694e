"""The services of an environment while they run: each made as its spec says, and anew when another spec is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chaoskit.base.clock import now
from chaoskit.base.errors import NotRestorable
from chaoskit.engine.platform import Platform, together
from chaoskit.engine.templated_service import Command
from chaoskit.language.compose import ComposedSpec
from chaoskit.language.model import Environment
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Emit, Service
from chaoskit.services.create import PROVIDERS
from chaoskit.system.journal import Journal
from chaoskit.traffic.templates import render

QUIET = 0.3
"""Seconds without a write after which what is prepared at a start counts as prepared: many do it behind a port that
answers already."""

SETTLED = 3.0
"""Seconds after which what is there counts, though something goes on writing."""


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
        self._first: dict[str, Any] = {}  # what was there when the environment, as its file says, was ready
        self._latest: dict[str, Any] = {}  # what was there when those that run now were ready
        self._used = self._changed = self._revived = False

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
        """Start all: first the providers, then the others together. What they hold then is what resets bring back."""
        self._start(self._services)
        self._remember()

    def stop(self) -> None:
        """End all. One that fails does not keep the others running."""
        together([service.stop for service in self._services.values()])
        self._services.clear()

    def exchange(self, wanted: Mapping[str, ServiceSpec], *, needs_restart: bool) -> Mapping[str, Service]:
        """End those that cannot stay as they are, and make the others as good as new; :meth:`renew` starts the rest.

        Gives those that were made anew, at the same address, because ``wanted`` describes them otherwise.
        ``needs_restart``: nobody knows what the latest scenario left in the services that are no providers. Raises
        NotRestorable when only starting the environment anew brings back what the services held.
        """
        changed = {name: self._make(name, spec) for name, spec in wanted.items() if self._specs[name] != spec}
        needs_recreate = [name for name, service in self._services.items() if service.needs_recreate]
        stores = {name for name, spec in self._specs.items() if spec.provider is not None} | {*self._latest}
        # A store that is started anew is empty: whoever prepared something in it at its own start does so again.
        emptied = not stores.isdisjoint([*changed, *needs_recreate])
        ill = [name for name in self._services if (needs_restart or emptied) and name not in stores]
        ended = {*changed, *needs_recreate, *ill}
        together([self._services[name].stop for name in ended - stores])
        self._reset(ended)
        if self._used:  # what was there when they were ready is there before the first scenario
            self._restore(self._first if changed or ill else self._latest, ended)
        together([self._services[name].stop for name in ended & stores])
        for name in ended & stores:
            self._first.pop(name, None)
            self._latest.pop(name, None)
        self._services.update(changed)
        self._used, self._changed = True, bool(ended)
        return changed

    def renew(self) -> bool:
        """Start those that do not run. True when one was started, also by :meth:`exchange`."""
        dead = {name: service for name, service in self._services.items() if not service.alive()}
        self._start(dead)
        if self._changed:
            self._remember()
        started, self._revived = bool(dead) or self._revived, False
        return started

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

    def _reset(self, ended: Collection[str]) -> None:
        """Make those that are not ``ended`` as good as new, but for what they hold.

        Providers before the first scenario, too: a stub's script was used by services that were starting.
        """
        for name, service in self._services.items():
            if name not in ended and service.alive() and (self._used or service.spec.provider is not None):
                service.reset()

    def _restore(self, held: Mapping[str, Any], ended: Collection[str]) -> None:
        """Bring back what was ``held``. A store that died is started with the data it has."""
        dead = [name for name in self._latest if name not in ended and not self._services[name].alive()]
        together([self._services[name].start for name in dead])
        self._revived = bool(dead)
        # Volumes of Compose outlive their container, those of a provider do not.
        kept = [name for name in self._latest if name not in ended or isinstance(self._specs[name], ComposedSpec)]
        if missing := [name for name in kept if name not in held]:
            raise NotRestorable(f"{missing[0]} was first filled by services that a scenario had changed")
        together([partial(self._services[name].restore, held[name]) for name in kept])

    def _remember(self) -> None:
        """Note what the services hold now that they are ready, once nothing more is written, or after ``SETTLED``."""
        held, until = self._held(), now() + SETTLED
        while held and now() < until:
            time.sleep(QUIET)
            before, held = held, self._held()
            if held == before:
                break
        self._latest = held
        if self._specs == self._environment.services:
            self._first = {**held, **self._first}

    def _held(self) -> dict[str, Any]:
        found = {name: service.snapshot() for name, service in self._services.items() if service.alive()}
        return {name: snapshot for name, snapshot in found.items() if snapshot is not None}

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
            provided = PROVIDERS.get(spec.provider)(name, spec, **rest)
            provided.fill = lambda text: render(text, self._addresses())
            return provided
        cwd = (base / spec.cwd).resolve() if spec.cwd else base
        return Command(self._addresses, name, spec.model_copy(update={"cwd": str(cwd)}), **rest)

    def _start(self, services: Mapping[str, Service]) -> None:
        if self._environment.compose:  # each waits for what its depends_on says
            together([service.start for service in services.values()])
            return
        together([service.start for service in services.values() if service.spec.provider is not None])
        together([service.start for service in services.values() if service.spec.provider is None])
        together([service.settle for service in self._services.values()])
