"""The scenario language as types. The loader reads files into these; nothing here touches the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from chaoskit.language.operation_bounds import SteadyBounds
from chaoskit.language.run_target import Need
from chaoskit.language.service import ServiceSpec
from chaoskit.language.source import Source
from chaoskit.language.types import (
    Duration,
    JsonPath,
    Model,
    Rate,
    problem,
)

Severity = Literal["blocker", "critical", "normal", "minor", "trivial"]


class Accepted(Model):
    """Which answers count as a success: by status, and by values in the JSON body (dotted paths)."""

    status: int | list[int] | None = None
    json_: dict[JsonPath, Any] | None = Field(None, alias="json")

    @property
    def statuses(self) -> list[int]:
        """Statuses that count as a success; empty means any 2xx."""
        if self.status is None:
            return []
        return self.status if isinstance(self.status, list) else [self.status]


class Fallback(Model):
    """How an answer tells that it is a fallback: a header's value, a status or values in the JSON body."""

    header: dict[str, str] | None = None
    status: int | None = None
    json_: dict[JsonPath, Any] | None = Field(None, alias="json")

    @model_validator(mode="after")
    def _tells(self) -> Self:
        if not (self.header or self.json_ or self.status is not None):
            raise problem("every answer would be a fallback: say what tells it", ["header", "status", "json"])
        return self


def _request(text: str) -> str:
    method, _, url = text.partition(" ")
    if not url.strip() or not method.isalpha() or not method.isupper():
        raise problem(f"{text!r} is not a request", ["METHOD URL, for example: GET {{ orders.url }}/orders"])
    return text


class Operation(Model):
    """One kind of request that the traffic consists of."""

    request: Annotated[str, AfterValidator(_request)]
    headers: dict[str, str] = {}
    json_: Any = Field(None, alias="json")
    body: str | None = None
    rate: Rate
    arrival: Literal["constant", "poisson"] = "constant"
    timeout: Duration = 2.0
    ok: Accepted = Accepted()
    fallback: Fallback | None = None
    copies: int = Field(1, ge=1, le=100)
    in_flight: int = Field(2000, ge=1, le=20000)
    id_header: str = "x-request-id"

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and "json_" in self.model_fields_set:
            raise problem("a request has one body: 'json' or 'body', not both", ["json", "body"])
        return self

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.partition(" ")[0]

    @property
    def url(self) -> str:
        """The URL's template."""
        return self.request.partition(" ")[2].strip()


class ServiceChange(Model):
    """What a scenario or a control changes of a service for its own run."""

    env: dict[str, str | int | float | bool] = {}
    restart: Literal["never", "on-failure", "always"] | None = None
    args: dict[str, Any] | None = None


class Control(Model):
    """The same scenario with one protection off: it must then be violated where ``violates`` says."""

    with_: dict[str, ServiceChange] = Field({}, alias="with", min_length=1)  # but it may be left out
    without: Literal["sops"] | None = None
    violates: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _something_off(self) -> Self:
        if not self.with_ and self.without is None:
            raise problem("nothing is off in this control", ["with: {SERVICE: {env: {...}}}", "without: sops"])
        return self


class Timeline(Model):
    """How long each phase lasts. ``recovery`` is a limit: it ends when steady state holds again, and did for 2.5 s."""

    steady: Duration = 3.0
    faults: list[Any] = Field(min_length=1)  # typed one by one, by the fault's own model
    recovery: Duration = 15.0
    after: Duration = 0.0


class ScenarioFile(Model):
    """A ``*.chaos.yaml`` file as it is written."""

    scenario: str = Field(min_length=1)
    case: str | None = None
    severity: Severity = "normal"
    owner: str | None = None
    tags: list[str] = []
    links: list[str] = []
    description: str = ""
    environment: str | dict[str, Any]
    isolation: Literal["shared", "fresh"] = "shared"
    requires: list[Need] = []
    with_: dict[str, ServiceChange] = Field({}, alias="with")
    control: Control | None = None
    matrix: dict[str, Annotated[list[str | int | float], Field(min_length=1)]] = {}
    data: dict[str, Any] = {}
    sops: list[Any] = []  # typed one by one, by sop.py
    traffic: dict[str, Operation] = Field(min_length=1)
    steady_state: dict[str, SteadyBounds] = Field(min_length=1)
    timeline: Timeline
    expect: dict[str, Any] = {}


class EnvironmentFile(Model):
    """An environment: the services that a scenario runs against, in the order in which they start."""

    environment: str
    extends: str | None = Field(
        None,
        description="an environment beside this one; a service that is named again here takes only the new keys",
    )
    production: bool = False
    services: dict[str, ServiceSpec] = Field(min_length=1)
    data: dict[str, Any] = {}


@dataclass(frozen=True)
class Environment:
    """A loaded environment. ``folder`` is what relative paths in it start from, ``compose`` a team's Compose files.

    ``flat`` is its data together with what it extends, where it extends something.
    """

    name: str
    services: Mapping[str, ServiceSpec]
    data: Mapping[str, Any]
    folder: Path
    source: Source
    production: bool = False
    compose: Sequence[Path] = ()
    flat: Mapping[str, Any] | None = None
