"""Types of arguments that several faults share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from chaoskit.base import units
from chaoskit.language.types import Duration, Model, Ratio, problem


def _some(share: float) -> float:
    if share == 0:
        raise problem("a share of 0% touches nothing")
    return share


Share = Annotated[Ratio, AfterValidator(_some)]
"""A share above 0 %, at most 1."""

Direction = Literal["downstream", "upstream"]
"""``downstream``: from the service to its caller. ``upstream``: from the caller to the service."""

Times = Annotated[int, Field(ge=1)]


class Selection(Model):
    """Which ones of many: skips, steps and a limit, in this order. All unless something is given."""

    after: int | None = Field(None, ge=0, description="Skip as many as this.")
    every: int | None = Field(None, ge=1, description="Of the rest take each n-th: with `3` the third, sixth and on.")
    first: int | None = Field(None, ge=1, description="Of those take at most this many.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.chosen():
            raise problem("nothing is chosen here: give at least one", sorted(type(self).model_fields))
        return self

    def chosen(self) -> dict[str, int]:
        """What was given, by name."""
        return self.model_dump(exclude_none=True)


def _at_least(smallest: float, show: Callable[[float], str]) -> AfterValidator:
    def validate(value: float) -> float:
        if 0 < value < smallest:
            raise problem(f"the smallest possible is {show(smallest)}, is {show(value)}")
        return value

    return AfterValidator(validate)


def _some_time(value: float) -> float:
    if value == 0:
        raise problem("0s changes nothing")
    return value


Millis = Annotated[Duration, _at_least(1e-3, units.format_duration)]
"""Seconds; 0 or at least one millisecond, Toxiproxy's unit."""

Micros = Annotated[Duration, _at_least(1e-6, units.format_duration)]
"""Seconds; 0 or at least one microsecond."""

SomeMicros = Annotated[Micros, AfterValidator(_some_time)]
"""Seconds; at least one microsecond."""

SomeMillis = Annotated[Millis, AfterValidator(_some_time)]
"""Seconds; at least one millisecond."""

_PLACE = re.compile(r"[^\s:;=?#]+(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


def _place(at: str) -> str:
    if not _PLACE.fullmatch(at):
        raise problem(f"{at!r} names no failpoint", ["a failpoint's name: orders/place", "module:Class.method"])
    return at


Place = Annotated[str, AfterValidator(_place)]
"""A failpoint: the name given in the code, or ``module:Class.method`` for any function of a Python service."""


def millis(seconds: float) -> int:
    """Whole milliseconds, as Toxiproxy wants them."""
    return round(seconds * 1e3)


def micros(seconds: float) -> int:
    """Whole microseconds."""
    return round(seconds * 1e6)
