"""Bounds: what a figure must satisfy. ``>= 99%``, ``< 250ms``, ``1.5..2.5``, ``1s ± 30%``, ``<= 3x steady``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

from chaoskit.base import units


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
_FACTOR = r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*x"
_RELATIVE = re.compile(rf"\s*(?:(>=|<=|==|=|>|<|≥|≤)\s*{_FACTOR}|{_FACTOR}\s*\.\.\s*{_FACTOR})\s+steady\s*\Z")
_MEANT_RELATIVE = re.compile(r"(?<![a-z])x\b|\bst\w*y\b", re.IGNORECASE)
"""Text that means the steady state, right or wrong: no unit has a lone x in it."""

NOT_RELATIVE = "only a figure of an operation in 'during' or 'after' may be relative to its steady state"


class BoundError(ValueError):
    """Text that is no bound. ``legal`` lists the forms."""

    def __init__(self, text: object, dimension: str, why: str = "", legal: tuple[str, ...] = ()) -> None:
        example = _DIMENSIONS[dimension].example
        self.legal = legal or (f">= {example}", f"< {example}", f"= {example}", "A..B", f"{example} ± 30%")
        super().__init__(f"{text!r} is not a bound for a {dimension}" + (f" ({why})" if why else ""))


@dataclass(frozen=True)
class Bound:
    """An interval of one dimension, with the text it was written as. Values are in base units.

    ``steady`` is the figure of the steady state that the limits are multiples of, where they are
    (:class:`RelativeBound`).
    """

    text: str
    dimension: str
    low: float = -inf
    high: float = inf
    open_low: bool = False
    open_high: bool = False
    steady: float | None = None

    @classmethod
    def parse(cls, text: object, dimension: str) -> Bound:
        """Read a bound. Raises :class:`BoundError` that lists the legal forms."""
        if not isinstance(text, str):
            raise BoundError(text, dimension, "a comparison is missing")
        if _MEANT_RELATIVE.search(text):
            raise BoundError(text, dimension, NOT_RELATIVE)

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
                if not isfinite(width):
                    raise BoundError(text, dimension, f"{spread} is not a finite spread")
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
        slack = 1e-9 * max(1.0, abs(value)) if isfinite(value) else 0.0
        above = value > self.low + slack if self.open_low else value >= self.low - slack
        below = value < self.high - slack if self.open_high else value <= self.high + slack
        return above and below

    def reaches(self, least: float, most: float) -> bool:
        """Whether it holds for any value from ``least`` to ``most``."""
        return self.holds(min(max(least, self.low), most)) or self.holds(max(min(most, self.high), least))

    def possible(self, least: float, most: float) -> bool:
        """Whether it holds for any of the values that there are, ``least`` to ``most``, and names no other as its
        limit; a spread (``99% ± 5%``) may reach beyond them."""
        limits = [] if _AROUND.match(self.text) else [each for each in (self.low, self.high) if isfinite(each)]
        return self.reaches(least, most) and all(least <= each <= most for each in limits)

    def show(self, value: float) -> str:
        """``value`` as text with the unit of this bound, and as a multiple of ``steady`` where there is one."""
        text = _DIMENSIONS[self.dimension].show(value)
        return f"{text} ({value / self.steady:.3g}x)" if self.steady else text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class RelativeBound(Bound):
    """Multiples of what the same figure was in the steady state: ``<= 3x steady``, ``0.5x..2x steady``.

    It has no limits of its own: :meth:`of` gives a bound that has. ``factors`` are what the steady figure is multiplied
    by.
    """

    factors: Bound = Bound("", "number")

    @classmethod
    def parse(cls, text: object, dimension: str) -> Bound:
        """Read a bound, relative or not. Raises :class:`BoundError` that lists the legal forms."""
        if not isinstance(text, str) or not _MEANT_RELATIVE.search(text):
            return Bound.parse(text, dimension)
        legal = ("<= 3x steady", ">= 0.5x steady", "0.5x..2x steady")
        match = _RELATIVE.match(text)
        if match is None:
            raise BoundError(
                text, dimension, "a multiple of its steady state is a comparison, a factor with x, and 'steady'", legal
            )
        sign, factor, low, high = match.groups()
        try:
            factors = Bound.parse(f"{sign} {factor}" if sign else f"{low}..{high}", "number")
        except BoundError:
            raise BoundError(text, dimension, "the factors are no numbers, or no range", legal) from None
        if factors.high <= 0 or factors.low == 0:
            raise BoundError(text, dimension, "a factor is above 0", legal)
        return cls(text, dimension, factors=factors)

    def of(self, steady: float) -> Bound:
        """The bound where the figure was ``steady`` (base units) in the steady state: ``<= 3x steady (= 96ms)``."""
        factors = self.factors
        low, high = (limit * steady if isfinite(limit) else limit for limit in (factors.low, factors.high))
        show = _DIMENSIONS[self.dimension].show
        told = "..".join(dict.fromkeys(show(limit) for limit in (low, high) if isfinite(limit)))
        text = f"{self.text.strip()} (= {told})"
        return Bound(text, self.dimension, low, high, factors.open_low, factors.open_high, steady)

    def holds(self, value: float) -> bool:
        """Never asked: raises ValueError."""
        raise ValueError(f"{self.text} holds or not against a steady state, and not for {value} alone")


def resolved(text: str, dimension: str) -> Bound:
    """The bound that a finding expected, read from its text, also ``<= 3x steady (= 96ms)``. Raises BoundError."""
    head, relative, limits = text.removesuffix(")").partition(" steady (= ")
    if not relative:
        return Bound.parse(text, dimension)
    sign = re.match(r"\s*[<>=≤≥]*", head)
    return Bound.parse(f"{sign.group() if sign else ''} {limits}", dimension)
