"""Durations as Prometheus writes them: ``5m``, ``1h30m``, ``200ms``. Inside they are whole milliseconds."""

from __future__ import annotations

import re

_UNITS = {"y": 365 * 86_400_000, "w": 7 * 86_400_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in _UNITS))


def parse(text: object) -> int:
    """``text`` in milliseconds. Raises ValueError, whose text says what is legal."""
    word = str(text).strip()
    if word == "0":
        return 0
    found = _DURATION.fullmatch(word)
    if not word or found is None:
        raise ValueError(f"{word!r} is no duration of Prometheus: 200ms, 30s, 5m, 1h30m, 7d")
    return sum(int(number) * _UNITS[unit] for unit, number in found.groupdict().items() if number)


def write(milliseconds: float) -> str:
    """As Prometheus reads it, in the largest unit that fits; at least 1ms unless it is 0."""
    whole = round(milliseconds) or (1 if milliseconds > 0 else 0)
    for unit in ("d", "h", "m", "s"):
        if whole and whole % _UNITS[unit] == 0:
            return f"{whole // _UNITS[unit]}{unit}"
    return f"{whole}ms" if whole else "0s"
