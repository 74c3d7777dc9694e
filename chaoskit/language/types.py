"""Types of the fields that a scenario file may hold: quantities with units, bounds, references.

Inside, a duration is a float of seconds, a size of bytes, a rate of events per second, a ratio a share of 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from chaoskit.base import units
from chaoskit.language.bounds import Bound, BoundError, RelativeBound


class Model(BaseModel):
    """Base of everything typed in a scenario: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)


def problem(what: str, legal: list[str] | None = None, found: str | None = None) -> PydanticCustomError:
    """An error that the loader shows as ``file:line: what; legal: ...; did you mean ...?``."""
    # The text goes in as a value: braces in it are not a template.
    return PydanticCustomError("chaoskit", "{what}", {"what": what, "legal": legal or [], "found": found})


def _quantity(parse: Callable[[object], float]) -> BeforeValidator:
    def validate(value: object) -> float:
        try:
            quantity = parse(value)
        except units.UnitError as error:
            raise problem(error.what, list(error.legal)) from None
        if not isfinite(quantity):
            raise problem(f"{value!r} is too large")
        return quantity

    return BeforeValidator(validate)


def _not_negative(value: float) -> float:
    if value < 0:
        raise problem(f"must not be negative, is {value:g}")
    return value


def _schema(example: str, what: str, legal: dict[str, float]) -> WithJsonSchema:
    words = "|".join(map(re.escape, legal))
    # A matrix value may stand in place of any quantity.
    pattern = rf"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*({words})\s*$|\{{\{{"
    return WithJsonSchema({"type": "string", "examples": [example], "description": what, "pattern": pattern})


def _not_endless(value: float) -> float:
    if value > LONGEST:
        raise problem(f"{units.format_duration(value)} is longer than a week")
    return value


LONGEST = 7 * 24 * 3600.0
"""Seconds that anything in a scenario may last."""

Duration = Annotated[
    float,
    AfterValidator(_not_endless),
    AfterValidator(_not_negative),
    _quantity(units.parse_duration),
    _schema("800ms", "duration: us, ms, s, m, h", units.DURATION_UNITS),
]
Rate = Annotated[
    float,
    AfterValidator(_not_negative),
    _quantity(units.parse_rate),
    _schema("40/s", "events per time: /s, /m, /h", units.RATE_UNITS),
]
Size = Annotated[
    float,
    AfterValidator(_not_negative),
    _quantity(units.parse_size),
    _schema("64KB", "size: B, KB, MB, GB, KiB, MiB", units.SIZE_UNITS),
]
Bandwidth = Annotated[
    float,
    AfterValidator(_not_negative),
    _quantity(units.parse_bandwidth),
    _schema("100KB/s", "bytes per second: KB/s, MB/s", units.BANDWIDTH_UNITS),
]


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise problem(f"a share lies between 0% and 100%, is {value * 100:g}%")
    return value


Ratio = Annotated[
    float,
    AfterValidator(_share),
    _quantity(units.parse_ratio),
    _schema("25%", "a share, in %", units.RATIO_UNITS),
]


_COMPARED = r"^\s*(>=|<=|==|=|>|<|≥|≤)|\.\.|±|\+/?-|\{\{"
"""What a bound must hold somewhere: a sign of comparison, a range, a spread, or a matrix value."""


def _bound(dimension: str, example: str, kind: type[Bound] = Bound) -> Any:
    def validate(value: object) -> Bound:
        if isinstance(value, Bound):
            return value
        try:
            return kind.parse(value, dimension)
        except BoundError as error:
            raise problem(str(error), list(error.legal)) from None

    return Annotated[
        Bound,
        BeforeValidator(validate),
        WithJsonSchema({"type": "string", "examples": [example], "pattern": _COMPARED}),
    ]


def _within(bound: Any, most: float, whole: bool = False) -> Any:
    """A bound for what lies between 0 and ``most``: it must be able to hold, and to fail."""

    def validate(bound: Bound, info: ValidationInfo) -> Bound:
        if (info.context or {}).get("recorded") or isinstance(bound, RelativeBound):
            return bound
        legal = [">= 99%", "< 1%", "0%..5%"] if most == 1 else list(BoundError(bound.text, bound.dimension).legal)
        if not bound.possible(0.0, most):
            told = "a share lies between 0% and 100%" if most == 1 else "it is never below 0"
            raise problem(f"{bound.text!r}: {told}", legal)
        if whole and bound.low == bound.high != round(bound.low):
            raise problem(f"{bound.text!r} can never hold: a count is whole", legal)
        if bound.holds(0.0) and bound.holds(most):
            raise problem(f"{bound.text!r} can never fail: nothing lies beyond it", legal)
        return bound

    return Annotated[bound, AfterValidator(validate)]


DurationBound = _within(_bound("duration", "< 250ms"), inf)
RatioBound = _within(_bound("ratio", ">= 99.9%"), inf)
ShareBound = _within(_bound("ratio", ">= 99.9%"), 1.0)
"""Of what cannot be more than all, nor less than none."""
RateBound = _within(_bound("rate", ">= 30/s"), inf)
SizeBound = _within(_bound("size", "< 64MB"), inf)
NumberBound = _within(_bound("number", "<= 3"), inf)
CountBound = _within(_bound("number", "<= 3"), inf, whole=True)
RelativeDurationBound = _within(_bound("duration", "<= 3x steady", RelativeBound), inf)
RelativeShareBound = _within(_bound("ratio", ">= 0.9x steady", RelativeBound), 1.0)
RelativeRateBound = _within(_bound("rate", ">= 0.5x steady", RelativeBound), inf)


def _reference(kind: str, plural: str) -> AfterValidator:
    def validate(name: str, info: ValidationInfo) -> str:
        legal = (info.context or {}).get(plural)
        if legal is not None and name not in legal:
            raise problem(f"unknown {kind} {name!r}", sorted(legal), name)
        return name

    return AfterValidator(validate)


ServiceName = Annotated[str, _reference("service", "services")]
OperationName = Annotated[str, _reference("operation", "operations")]


@dataclass(frozen=True)
class Lacks:
    """Why a service cannot do what is asked of it, and what would do."""

    why: str
    legal: Sequence[str] = ()


def _able(ability: str) -> AfterValidator:
    """Refuses a service that is known to lack the ability (:mod:`chaoskit.language.abilities`)."""

    def validate(name: str, info: ValidationInfo) -> str:
        if lacks := (info.context or {}).get("lacking", {}).get(ability, {}).get(name):
            raise problem(lacks.why, list(lacks.legal))
        return name

    return AfterValidator(validate)


CalledService = Annotated[ServiceName, _able("read")]
"""One whose calls are seen on their way."""

HttpService = Annotated[ServiceName, _able("http")]
Database = Annotated[ServiceName, _able("rows")]


def _dotted(path: str) -> str:
    dotted = re.sub(
        r"\[\s*(?:(\d+)|'([^']*)'|\"([^\"]*)\")\s*\]", lambda found: f".{next(filter(None, found.groups()), '')}", path
    )
    if dotted != path:
        raise problem(f"{path!r} is no dotted path: an index is a step of its own", [dotted.lstrip(".")])
    return path


JsonPath = Annotated[str, AfterValidator(_dotted)]
"""Where in a JSON document a value stands: ``items.0.id``, a leading ``$.`` is allowed."""
