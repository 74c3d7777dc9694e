"""Bounds on the figures of an operation: what ``steady_state``, ``during`` and ``after`` hold for each."""

from __future__ import annotations

from typing import Self

from pydantic import field_validator, model_validator

from chaoskit.language.bounds import NOT_RELATIVE, Bound, BoundError, RelativeBound
from chaoskit.language.types import (
    CountBound,
    Model,
    RelativeDurationBound,
    RelativeRateBound,
    RelativeShareBound,
    problem,
)


class OperationBounds(Model):
    """Bounds on what one operation's callers saw. Latency counts from the intended send time.

    Those on figures may be relative to what they were in the steady state (:class:`RelativeBound`).
    """

    success_rate: RelativeShareBound | None = None
    error_rate: RelativeShareBound | None = None
    fallback_rate: RelativeShareBound | None = None
    p50: RelativeDurationBound | None = None
    p75: RelativeDurationBound | None = None
    p90: RelativeDurationBound | None = None
    p95: RelativeDurationBound | None = None
    p99: RelativeDurationBound | None = None
    p999: RelativeDurationBound | None = None
    max: RelativeDurationBound | None = None
    mean: RelativeDurationBound | None = None
    throughput: RelativeRateBound | None = None
    requests: CountBound | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.bounds():
            raise problem("nothing is expected here: give at least one bound", sorted(type(self).model_fields))
        return self

    def bounds(self) -> list[tuple[str, Bound]]:
        """The bounds that were given, by metric name."""
        return [(name, bound) for name in type(self).model_fields if (bound := getattr(self, name)) is not None]


class SteadyBounds(OperationBounds):
    """Bounds that tell what the steady state is: not relative to it."""

    @field_validator("*")
    @classmethod
    def _absolute(cls, bound: Bound | None) -> Bound | None:
        if isinstance(bound, RelativeBound):
            legal = BoundError(bound.text, bound.dimension).legal
            raise problem(f"{bound.text!r} would be relative to itself: {NOT_RELATIVE}", list(legal))
        return bound
