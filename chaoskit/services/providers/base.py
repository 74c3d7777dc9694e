"""What providers share: their arguments, and the search for a server's program."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from chaoskit.base.errors import ChaosError, Problem
from chaoskit.language.service import ServiceSpec
from chaoskit.language.types import Model
from chaoskit.services.managed import ManagedService

RESET = "`restore` brings back, between scenarios, what it held when the services were ready; with `none` all stays"
"""What the argument ``reset`` of a provider with data means."""


class Provider(ManagedService):
    """A service that chaoskit knows how to run. A subclass has an ``Args`` model and says what to run."""

    Args: ClassVar[type[Model]]
    container_port: ClassVar[int | None] = None
    """What its program listens on in a container; None: any, it takes what it is told."""
    speaks: ClassVar[str] = ""
    """What it speaks where that is never HTTP."""
    default_image: ClassVar[str] = ""
    """What it runs in as a container, where the environment does not say."""

    @classmethod
    def lacks(cls) -> str:
        """What a subclass must have and does not; empty when it is whole."""
        if not hasattr(cls, "Args"):
            return "its model of arguments: Args = ..."
        runs = cls.argv is not ManagedService.argv or cls.plan is not ManagedService.plan
        return "" if runs else "argv() or plan(): what to run"

    @classmethod
    def image_of(cls, spec: ServiceSpec) -> str:
        """The image that it runs in as a container. Empty for a provider that does not say which."""
        return spec.image or cls.default_image

    @classmethod
    def companions(cls, name: str, spec: ServiceSpec) -> Mapping[str, ServiceSpec]:  # noqa: ARG003
        """Further services that a service called ``name`` brings along; ``spec`` may hold wrong arguments."""
        return {}

    @classmethod
    def mistakes_in_files(cls, spec: ServiceSpec, folder: Path, *, embedded: bool) -> list[Problem]:  # noqa: ARG003
        """What is wrong with the files that ``spec.args`` (checked before) name, relative to ``folder``.

        ``embedded``: also what our stand-in for the server does not understand.
        """
        return []

    def __init__(self, name: str, spec: Any, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        try:
            self._args = self.Args.model_validate(spec.args)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ChaosError(f"service {name}, provider {spec.provider}: {problems}") from None

    @property
    def args(self) -> Any:
        """The checked arguments, as ``Args``."""
        return self._args


def shipped(distribution: str, program: str) -> list[Path]:
    """The files called ``program`` that an installed distribution ships, wherever it puts them. Imports nothing."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    return [path for file in files if file.name == program and (path := Path(str(file.locate()))).is_file()]
