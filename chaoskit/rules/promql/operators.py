"""PromQL's binary operators between numbers and vectors."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from chaoskit.rules.promql.series import NAME, Labels, Sample

Vector = list[Sample]


class EvaluationError(Exception):
    """An expression that is right, but cannot be evaluated over these series."""


@dataclass(frozen=True)
class Matching:
    """How the elements of two vectors find each other: ``on`` these labels alone, or ignoring them."""

    labels: Collection[str] = ()
    on: bool = False

    def key(self, labels: Mapping[str, str]) -> Labels:
        """The same for elements that belong together."""
        if self.on:
            return frozenset((name, labels[name]) for name in self.labels if labels.get(name))
        return frozenset((name, value) for name, value in labels.items() if name != NAME and name not in self.labels)

    def result(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels of what two elements make."""
        return {name: value for name, value in labels.items() if (name in self.labels) == self.on}


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _modulo(left: float, right: float) -> float:
    return math.nan if not right or math.isinf(left) else math.fmod(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return math.inf if left > 0 or right % 2 == 0 else -math.inf
    except ValueError:  # a root of a negative number, or a negative power of zero
        return math.inf if left == 0 else math.nan


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "^": _power,
}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def without_name(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as operators and functions leave them."""
    return {name: value for name, value in labels.items() if name != NAME}


def _apply(sign: str, left: float, right: float, *, as_bool: bool) -> float | None:
    """The value; None where a comparison that filters does not hold, the left one where it does."""
    if sign in ARITHMETIC:
        return ARITHMETIC[sign](left, right)
    holds = COMPARISONS[sign](left, right)
    return float(holds) if as_bool else left if holds else None


def scalars(sign: str, left: float, right: float) -> float:
    """Between two numbers, where a comparison always gives 0 or 1."""
    value = _apply(sign, left, right, as_bool=True)
    assert value is not None
    return value


def vector_and_scalar(sign: str, vector: Vector, scalar: float, *, swapped: bool, as_bool: bool) -> Vector:
    """Of each element; ``swapped``: the number stands on the left. A comparison that holds gives the element."""
    found: Vector = []
    for labels, value in vector:
        left, right = (scalar, value) if swapped else (value, scalar)
        result = _apply(sign, left, right, as_bool=as_bool)
        if result is None:
            continue
        filters = sign in COMPARISONS and not as_bool
        found.append(Sample(labels, value) if filters else Sample(without_name(labels), result))
    return found


def vectors(sign: str, left: Vector, right: Vector, matching: Matching, *, as_bool: bool) -> Vector:
    """One to one. Raises EvaluationError where an element has more than one partner."""
    partners: dict[Labels, Sample] = {}
    for sample in right:
        key = matching.key(sample.labels)
        if key in partners:
            raise EvaluationError(f"found duplicate series for the match group {_shown(key)} on the right hand-side")
        partners[key] = sample
    found: Vector = []
    seen: set[Labels] = set()
    for labels, value in left:
        key = matching.key(labels)
        partner = partners.get(key)
        if partner is None:
            continue
        result = _apply(sign, value, partner.value, as_bool=as_bool)
        if result is None:
            continue
        if key in seen:
            raise EvaluationError(f"multiple matches for labels {_shown(key)}: many-to-one matching must be explicit")
        seen.add(key)
        kept = labels if sign in COMPARISONS and not as_bool else without_name(labels)
        found.append(Sample(matching.result(kept), result))
    return found


def sets(sign: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """``and``, ``or``, ``unless``."""
    first, second = ({matching.key(sample.labels) for sample in side} for side in (left, right))
    if sign == "and":
        return [sample for sample in left if matching.key(sample.labels) in second]
    if sign == "unless":
        return [sample for sample in left if matching.key(sample.labels) not in second]
    return [*left, *(sample for sample in right if matching.key(sample.labels) not in first)]


def _shown(key: Labels) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(key)) + "}"
