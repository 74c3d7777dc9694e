"""How an environment file describes one service."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from chaoskit.scenario.types import Duration, Model, problem


class ReadySpec(Model):
    """When a service counts as ready: an HTTP path that answers 2xx, an open port, or a line in its log."""

    http: str | None = None
    tcp: bool | None = None
    log: str | None = None
    within: Duration = 10.0


class StopSpec(Model):
    """How a service is asked to end, and for how long before it is killed."""

    signal: Literal["TERM", "INT", "QUIT", "KILL"] = "TERM"
    grace: Duration = 5.0


class ServiceSpec(Model):
    """A service of an environment: a ``command`` of one's own, or a ``provider`` such as ``postgres``."""

    command: list[str] | str | None = None
    provider: str | None = None
    args: dict[str, Any] = {}
    env: dict[str, str | int | float | bool] = {}
    cwd: str | None = None
    port: Literal["auto"] | int = "auto"
    protocol: Literal["http", "tcp"] | None = None
    ready: ReadySpec = ReadySpec()
    metrics: str | None = None
    failpoints: bool = False
    restart: Literal["never", "on-failure", "always"] = "never"
    stop: StopSpec = StopSpec()
    proxy: bool = True
    reset: list[str] = Field([], description="requests (METHOD PATH) sent directly to it between scenarios")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.command is None) == (self.provider is None):
            raise problem("a service has either a command or a provider", ["command", "provider"])
        if self.args and self.provider is None:
            raise problem("args belong to a provider; a command takes its arguments itself")
        return self
