"""How an environment file describes one service."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from chaoskit.language.types import Duration, Model, Size, problem


def _mount_point(path: str) -> str:
    place = PurePosixPath(path)
    if not place.is_absolute() or ".." in place.parts or place.name == "":
        raise problem(f"{path!r} is no folder that a container can be given", ["/var/spool/app"])
    return path


def _some_room(size: float) -> float:
    if size < 1:  # which Docker would take for: without a limit
        raise problem("a tmpfs without room holds nothing", ["16MB"])
    return size


def _path(text: str) -> str:
    """What is put behind the service's own address: ``@far.example.com/`` would lead elsewhere."""
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise problem(f"{text!r} is no path of the service, which begins with /", ["/healthz"])
    return text


def _request(text: str) -> str:
    method, _, path = text.partition(" ")
    if not method.isascii() or not method.isalpha():
        raise problem(f"{text!r} is no request: a method, then a path of the service", ["POST /reset"])
    _path(path.strip() or "/")
    return text


Path = Annotated[str, AfterValidator(_path)]
"""A path of the service, with or without a query."""


class ReadySpec(Model):
    """When a service counts as ready: an HTTP path that answers 2xx, an open port, or a line in its log."""

    http: Path | None = None
    tcp: bool | None = None
    log: str | None = None
    within: Duration = 30.0


class StopSpec(Model):
    """How a service is asked to end, and for how long before it is killed."""

    signal: Literal["TERM", "INT", "QUIT", "KILL"] = "TERM"
    grace: Duration = 5.0


class BuildSpec(Model):
    """An image to build from a Dockerfile. ``context`` is relative to the environment's folder."""

    context: str = Field(description="the folder that the build may use, relative to the environment's file")
    dockerfile: str = Field("Dockerfile", description="relative to the context")
    args: dict[str, str | int | float | bool] = Field({}, description="values of the Dockerfile's ARGs")


class ServiceSpec(Model):
    """A service of an environment: a ``command`` of one's own, an ``image``, or a ``provider`` such as ``postgres``.

    A command with an ``image`` (or ``build``) beside it is run as a process, or inside of the image on Docker.
    """

    command: list[str] | str | None = None
    image: str | None = Field(None, min_length=1, description="on Docker; with a provider, instead of the provider's")
    build: BuildSpec | None = Field(None, description="with image: where that is not there; alone: in each run")
    provider: str | None = None
    args: dict[str, Any] = {}
    env: dict[str, str | int | float | bool] = {}
    cwd: str | None = None
    tmpfs: dict[Annotated[str, AfterValidator(_mount_point)], Annotated[Size, AfterValidator(_some_room)]] = Field(
        {},
        description="in its container, folders that are file systems of this size, in memory and empty at each start "
        "(room that `disk_full` can fill); a process has the machine's folders",
    )
    port: Literal["auto"] | Annotated[int, Field(ge=1, le=65535)] = Field(
        "auto", description="what it listens on (also given as PORT); in a container, its port inside"
    )
    protocol: Literal["http", "tcp"] | None = None
    ready: ReadySpec = ReadySpec()
    metrics: Path | None = None
    failpoints: bool = False
    restart: Literal["never", "on-failure", "always"] = "never"
    ends: Literal["never", "allowed"] = "never"
    stop: StopSpec = StopSpec()
    proxy: bool = True
    reset: list[Annotated[str, AfterValidator(_request)]] = Field(
        [], description="requests (METHOD PATH) sent directly to it between scenarios"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.command is not None and self.provider is not None:
            raise problem("a service has either a command or a provider", ["command", "provider"])
        if all(kind is None for kind in (self.command, self.provider, self.image, self.build)):
            raise problem("it is not said what to run", ["command", "provider", "image", "build"])
        if self.args and self.provider is None:
            raise problem("args belong to a provider; a command takes its arguments itself")
        if self.tmpfs and self.image is None and self.build is None and self.provider is None:
            raise problem("tmpfs belongs to a container: say image or build too", ["image", "build"])
        return self
