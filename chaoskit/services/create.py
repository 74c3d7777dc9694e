"""From what an environment file says of a service to the service."""

from __future__ import annotations

from pathlib import Path

from chaoskit.base.registry import Registry
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Emit, Service
from chaoskit.services.managed import ManagedService
from chaoskit.services.providers.base import Provider
from chaoskit.services.runtime import Runtime
from chaoskit.system.journal import Journal

PROVIDERS: Registry[type[Provider]] = Registry("provider", "chaoskit.services.providers")
"""All providers: each a class with its ``Args`` model, against which ``spec.args`` is checked."""


def create(
    name: str,
    spec: ServiceSpec,
    *,
    folder: Path,
    journal: Journal,
    emit: Emit,
    runtime: Runtime | None = None,
) -> Service:
    """The service that ``spec`` describes, not started; its port is chosen. Its files go to ``folder``/``name``.

    ``runtime`` says where it runs; a process of this machine unless given.

    Raises ChaosError for an unknown provider or wrong arguments.
    """
    kind: type[ManagedService] = ManagedService if spec.provider is None else PROVIDERS.get(spec.provider)
    return kind(name, spec, folder=folder / name, journal=journal, emit=emit, runtime=runtime)
