"""Types of fields that several expectations share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from chaoskit.language.bounds import Bound
from chaoskit.language.types import CountBound, problem


def _exactly(value: Any) -> Any:
    # A count has no unit to forget, so a bare number can only mean one thing.
    return f"= {value}" if isinstance(value, int) and not isinstance(value, bool) else value


Count = Annotated[
    CountBound,
    BeforeValidator(_exactly),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "examples": ["<= 3"]}]}),
]
"""A bound for a count: ``<= 3``, ``1..2``, or a bare ``0`` for ``= 0``."""

NONE = Bound.parse("= 0", "number")
"""The bound of what must not happen at all."""


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise problem(f"{text!r} is not a regular expression: {error}") from None
    return text


Regex = Annotated[str, AfterValidator(_regex)]
"""A regular expression of Python's :mod:`re`, kept as text and checked at load."""

Statuses = int | Annotated[list[int], Field(min_length=1)]
"""One HTTP status or several."""


def listed(statuses: Statuses) -> list[int]:
    """The statuses as a list."""
    return [statuses] if isinstance(statuses, int) else statuses


def at_least_one(*names: str) -> Callable[[Any], Any]:
    """A model validator that refuses a block in which none of the fields ``names`` is given: it asks for nothing."""

    def validate(model: Any) -> Any:
        if all(getattr(model, name) is None for name in names):
            raise problem("nothing is expected here: give at least one of them", [name.rstrip("_") for name in names])
        return model

    return validate
