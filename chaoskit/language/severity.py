"""How severe an alert is: P1 to P4, and the words that mean the same in other teams' rules."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from chaoskit.language.types import problem

LEVELS = ("P1", "P2", "P3", "P4")
"""From the most severe on."""

_WORDS = {
    **dict.fromkeys(("p0", "p1", "sev0", "sev1", "critical", "page", "fatal", "blocker", "emergency"), 1),
    **dict.fromkeys(("p2", "sev2", "high", "error", "major"), 2),
    **dict.fromkeys(("p3", "sev3", "medium", "warning", "warn", "minor"), 3),
    **dict.fromkeys(("p4", "p5", "sev4", "sev5", "low", "info", "notice", "none", "trivial"), 4),
}


def level_of(text: str) -> int | None:
    """1 (most severe) to 4, or None for a word that is no severity."""
    return _WORDS.get(text.strip().lower())


def _level(value: object) -> str:
    level = level_of(value) if isinstance(value, str) else None
    if level is None:
        raise problem(f"{value!r} is no severity", [*LEVELS, "critical", "high", "warning", "info"], str(value))
    return LEVELS[level - 1]


Level = Annotated[str, BeforeValidator(_level), WithJsonSchema({"type": "string", "examples": list(LEVELS)})]
"""A severity as a file says it; inside one of :data:`LEVELS`."""
