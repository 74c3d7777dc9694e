"""What the gate says, as data: written to gate.json, and described by a JSON Schema that cannot drift from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chaoskit.language.model import Severity

PASSED, BLOCKED, NOTHING, INCONCLUSIVE = "passed", "blocked", "nothing to judge", "inconclusive"
EXIT = {PASSED: 0, BLOCKED: 1, NOTHING: 3, INCONCLUSIVE: 4}
"""Exit status by what the gate says; 2 is bad input."""

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Data):
    """One thing that blocks."""

    check: Literal["invalid", "severity", "inconclusive", "min_score", "score", "recovery", "p99"]
    text: str
    scenario: str | None = Field(None, description="pytest's node id, or the slug")
    operation: str | None = None
    seen: float | None = Field(None, description="seconds, or points of the score")
    baseline: float | None = None
    allowed: float | None = None


class Failed(_Data):
    """A scenario that was not held or whose file has mistakes, or a control that was not caught."""

    key: str
    name: str
    scenario: str
    severity: Severity | Literal["unknown"] = Field(description="unknown where the file cannot be read")
    outcome: str
    reason: str
    blocks: bool
    reproduce: str = Field("", description="command line that runs it again")


class Unstable(_Data):
    """A scenario whose outcome flips: it passed, failed and passed again, or did both on one commit."""

    key: str
    name: str
    outcomes: list[str] = Field(description="oldest first")


class Skipped(_Data):
    """A scenario that was not run, and does not count."""

    name: str
    reason: str


class Baseline(_Data):
    """What was compared with, scenario by scenario. Both scores are None where it has no scenario of the run."""

    what: str
    runs: list[str] = Field(description="newest first")
    score: float | None = Field(description="over the scenarios that are in the run and in the baseline")
    compared: float | None = Field(None, description="the run's own score over the same scenarios")


class Decision(_Data):
    """The gate's answer on one run."""

    version: Literal[1] = 1
    run: str
    decision: Literal["passed", "blocked", "nothing to judge", "inconclusive"]
    score: float | None = Field(description="0 to 100, docs/score.md; null where nothing was run")
    settings: dict[str, Any]
    outcomes: dict[str, int] = Field(description="number of scenarios and controls by outcome")
    reasons: list[Reason]
    failed: list[Failed]
    unstable: list[Unstable]
    skipped: list[Skipped]
    baseline: Baseline | None
    notes: list[str] = Field(description="what could not be compared, and why")

    @property
    def status(self) -> int:
        """The exit status: 0 passed, 1 blocked, 3 nothing to judge, 4 nothing but what stayed inconclusive blocks."""
        return EXIT[self.decision]


def schema() -> dict[str, Any]:
    """The JSON Schema of gate.json."""
    return {"$schema": SCHEMA_ID, **Decision.model_json_schema(mode="serialization")}
