"""Bounds: what a figure must satisfy. ``>= 99%``, ``< 250ms``, ``= 3``, ``1.5..2.5``, ``1s ± 30%``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

from chaoskit import units


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        raise units.UnitError("number", text, {}) from None


@dataclass(frozen=True)
class _Dimension:
    parse: Callable[[object], float]
    show: Callable[[float], str]
    example: str


_DIMENSIONS = {
    "duration": _Dimension(units.parse_duration, units.format_duration, "250ms"),
    "ratio": _Dimension(units.parse_ratio, units.format_ratio, "99%"),
    "rate": _Dimension(units.parse_rate, units.format_rate, "40/s"),
    "size": _Dimension(units.parse_size, units.format_size, "64MB"),
    "number": _Dimension(_number, lambda value: f"{value:.0f}" if value == round(value) else f"{value:.4g}", "3"),
}

_COMPARISON = re.compile(r"\s*(>=|<=|==|=|>|<|≥|≤)\s*(.+?)\s*\Z")
_RANGE = re.compile(r"\s*(.+?)\s*\.\.\s*(.+?)\s*\Z")
_AROUND = re.compile(r"\s*(.+?)\s*(?:±|\+-|\+/-)\s*(.+?)\s*\Z")


class BoundError(ValueError):
    """Text that is no bound. ``legal`` lists the forms."""

    def __init__(self, text: object, dimension: str, why: str = "") -> None:
        example = _DIMENSIONS[dimension].example
        self.legal = (f">= {example}", f"< {example}", f"= {example}", "A..B", f"{example} ± 30%")
        super().__init__(f"{text!r} is not a bound for a {dimension}" + (f" ({why})" if why else ""))


@dataclass(frozen=True)
class Bound:
    """An interval of one dimension, with the text it was written as. Values are in base units."""

    text: str
    dimension: str
    low: float = -inf
    high: float = inf
    open_low: bool = False
    open_high: bool = False

    @classmethod
    def parse(cls, text: object, dimension: str) -> Bound:
        """Read a bound. Raises :class:`BoundError` that lists the legal forms."""
        if not isinstance(text, str):
            raise BoundError(text, dimension, "a comparison is missing")

        def parse(part: str) -> float:
            value = _DIMENSIONS[dimension].parse(part)
            if not isfinite(value):
                raise BoundError(text, dimension, f"{part} is not a finite number")
            return value

        try:
            if match := _COMPARISON.match(text):
                sign, value = match.group(1), parse(match.group(2))
                match sign:
                    case ">=" | "≥":
                        return cls(text, dimension, low=value)
                    case ">":
                        return cls(text, dimension, low=value, open_low=True)
                    case "<=" | "≤":
                        return cls(text, dimension, high=value)
                    case "<":
                        return cls(text, dimension, high=value, open_high=True)
                    case _:
                        return cls(text, dimension, low=value, high=value)
            if match := _AROUND.match(text):
                middle = parse(match.group(1))
                spread = match.group(2)
                width = middle * units.parse_ratio(spread) if spread.endswith("%") else parse(spread)
                if width < 0:
                    raise BoundError(text, dimension, "the range is empty")
                return cls(text, dimension, low=middle - width, high=middle + width)
            if match := _RANGE.match(text):
                low, high = parse(match.group(1)), parse(match.group(2))
                if low > high:
                    raise BoundError(text, dimension, "the range is empty")
                return cls(text, dimension, low=low, high=high)
        except units.UnitError as error:
            raise BoundError(text, dimension, str(error)) from None
        raise BoundError(text, dimension, "a comparison is missing")

    def holds(self, value: float) -> bool:
        """Whether ``value`` (base units) lies inside. A rounding error of 1e-9 does not decide a verdict."""
        slack = 1e-9 * max(1.0, abs(value))
        above = value > self.low + slack if self.open_low else value >= self.low - slack
        below = value < self.high - slack if self.open_high else value <= self.high + slack
        return above and below

    def show(self, value: float) -> str:
        """``value`` as text with the unit of this bound."""
        return _DIMENSIONS[self.dimension].show(value)

    def __str__(self) -> str:
        return self.text
