"""Quantities with their units: parsed at the edge, plain seconds, bytes and ratios inside.

``parse_duration("800ms") == 0.8`` (seconds), ``parse_size("64KB") == 64000.0`` (bytes; KB = 1000, KiB = 1024),
``parse_rate("40/s") == 40.0`` (events per second), ``parse_bandwidth("100KB/s") == 100000.0`` (bytes per
second), ``parse_ratio("99.9%") == 0.999``. A bare number where a unit belongs is an error that lists the units.
"""

from __future__ import annotations

import re

DURATION_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
SIZE_UNITS = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}
RATE_UNITS = {"/s": 1.0, "/m": 1 / 60, "/min": 1 / 60, "/h": 1 / 3600}
BANDWIDTH_UNITS = {f"{unit}/s": factor for unit, factor in SIZE_UNITS.items()}
RATIO_UNITS = {"%": 0.01}

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*(\D*?)\s*\Z", re.IGNORECASE)


class UnitError(ValueError):
    """A quantity without, or with the wrong, unit. ``what`` says so, ``legal`` lists the legal units."""

    def __init__(self, what: str, text: object, units: dict[str, float]) -> None:
        self.legal = tuple(units)
        meant = _meant(text, units)
        hint = f" (perhaps {meant}?)" if meant else ""
        self.what = f"{text!r} is not a {what}{hint}"
        super().__init__(self.what + (f": a number with one of the units {', '.join(units)}" if units else ""))


def _meant(text: object, units: dict[str, float]) -> str:
    """A bare number with a unit: a share as per cent, else the unit that stands first among the common ones."""
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        return ""
    try:
        number = float(text)
    except ValueError:
        return ""
    if units is RATIO_UNITS:
        return f"{number * 100:g}%" if 0 <= number <= 1 else f"{number:g}%"
    return " or ".join(f"{number:g}{unit}" for unit in ("ms", "s", "/s", "KB", "KB/s") if unit in units)


def _parse(what: str, text: object, units: dict[str, float]) -> float:
    if isinstance(text, str) and (match := _QUANTITY.match(text)):
        number, unit = match.groups()
        if unit in units:
            # Decimal text over the unit's inverse keeps 250ms == 0.25 exact where a product would not.
            factor = units[unit]
            return float(number) / round(1 / factor) if factor < 1 and unit != "/h" else float(number) * factor
    raise UnitError(what, text, units)


def parse_duration(text: object) -> float:
    """Seconds. ``0`` needs its unit too (``0s``)."""
    return _parse("duration", text, DURATION_UNITS)


def parse_size(text: object) -> float:
    """Bytes."""
    return _parse("size", text, SIZE_UNITS)


def parse_rate(text: object) -> float:
    """Events per second."""
    return _parse("rate", text, RATE_UNITS)


def parse_bandwidth(text: object) -> float:
    """Bytes per second."""
    return _parse("bandwidth", text, BANDWIDTH_UNITS)


def parse_ratio(text: object) -> float:
    """A share: ``25%`` is 0.25."""
    return _parse("ratio", text, RATIO_UNITS)


def format_duration(seconds: float) -> str:
    """Short text with three significant digits: ``812ms``, ``1.25s``, ``47min``."""
    # Rounded first: 0.9999 s is 1s and not 1e+03ms.
    seconds = float(f"{seconds:.3g}")
    size = abs(seconds)
    if size >= 600:
        return f"{seconds / 60:.3g}min"
    if size >= 1 or size == 0:
        return f"{seconds:.3g}s"
    if size >= 1e-3:
        return f"{seconds * 1e3:.3g}ms"
    return f"{seconds * 1e6:.3g}µs"


def format_ratio(ratio: float) -> str:
    """Short text: ``99.9%``. Never rounds an imperfect ratio up to 100 %."""
    text = f"{ratio * 100:.4g}"
    return f"{min(ratio * 100, 99.9999):.6g}%" if text == "100" and ratio < 1 else f"{text}%"


def format_size(size: float) -> str:
    """Short text: ``64KB``, ``1.5MB``."""
    size = float(f"{size:.3g}")
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if abs(size) >= factor:
            return f"{size / factor:.3g}{unit}"
    return f"{size:.3g}B"


def counted(count: int, things: str) -> str:
    """``1 connection``, ``2 connections``: ``things`` is the plural."""
    return f"{count} {_one(things) if count == 1 else things}"


def _one(things: str) -> str:
    if things.endswith("ies") and things != "series":
        return f"{things[:-3]}y"
    return things[:-2] if things.endswith("sses") else things.removesuffix("s") if things != "series" else things


def format_rate(rate: float) -> str:
    """Short text: ``40/s``."""
    return f"{rate:.0f}/s" if abs(rate) >= 100 else f"{rate:.3g}/s"
