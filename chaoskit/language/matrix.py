"""``matrix:`` runs one scenario over several values: ``{{ matrix.NAME }}`` in its texts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from math import prod
from typing import Any

_REFERENCE = re.compile(r"\{\{\s*matrix\.(\w+)\s*\}\}")


MOST = 1000
"""Combinations of one file: a few more values would make a test for each second of a year."""


def too_many(matrix: Any) -> bool:
    """Whether a matrix has more than :data:`MOST` combinations."""
    values = matrix.values() if isinstance(matrix, dict) else ()
    return prod(len(each) for each in values if isinstance(each, list)) > MOST


def combinations(matrix: Any) -> list[dict[str, Any]]:
    """Every combination of the values; one without values for a matrix that is none, or has mistakes or too many."""
    if too_many(matrix):
        return [{}]
    if not isinstance(matrix, dict) or not matrix:
        return [{}]
    if not all(isinstance(values, list) and values for values in matrix.values()):
        return [{}]
    return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]


def references(text: str) -> list[str]:
    """The names of the matrix values that a text asks for."""
    return _REFERENCE.findall(text) if "matrix." in text else []


def fill(data: Any, values: Mapping[str, Any]) -> Any:
    """``data`` with the references replaced; a text that is nothing else takes the value's own type."""
    if isinstance(data, dict):
        return {key: value if key == "matrix" else fill(value, values) for key, value in data.items()}
    if isinstance(data, list):
        return [fill(item, values) for item in data]
    if isinstance(data, str) and "matrix." in data:
        whole = _REFERENCE.fullmatch(data.strip())
        if whole and whole.group(1) in values:
            return values[whole.group(1)]
        return _REFERENCE.sub(lambda found: str(values.get(found.group(1), found.group(0))), data)
    return data
