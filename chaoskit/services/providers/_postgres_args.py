"""The arguments of the provider ``postgres``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, model_validator

from chaoskit.language.types import Duration, Model, problem
from chaoskit.services.providers.base import RESET


class PostgresArgs(Model):
    """Arguments of the provider ``postgres``; ``settings`` are further lines of postgresql.conf."""

    version: int | None = Field(None, description="major version; any when left out")
    database: str = Field("shop", pattern=r"^[a-z_][a-z0-9_]*$")
    max_connections: int = Field(100, ge=5)
    settings: dict[str, str] = {}
    reset: Literal["restore", "none"] = Field("restore", description=RESET)
    keep: list[str] = Field([], description="tables (`name` or `schema.name`) that stay as a scenario leaves them")
    replica: bool = Field(False, description="a second server, NAME-replica, follows this one and can take over")
    synchronous: bool = Field(False, description="with replica: a commit is acknowledged when the replica has it, too")
    failover_after: Duration = Field(
        1.0, description="with replica: how long the primary has been dead when the replica is promoted"
    )
    replica_of: str | None = Field(None, description="not for files: chaoskit says it of the service NAME-replica")

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> PostgresArgs:
        if self.replica_of is not None:
            if info.context:  # what we say ourselves is checked without one
                raise problem("replica_of is said by chaoskit alone; the primary says replica: true", ["replica: true"])
            return self
        for name in ("synchronous", "failover_after"):
            if name in self.model_fields_set and not self.replica:
                raise problem(f"{name} means nothing without a replica", ["replica: true"])
        return self
