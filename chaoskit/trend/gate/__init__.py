"""The gate: whether a run is good enough to go on, by its score, by severities, and against earlier runs."""

from __future__ import annotations

from chaoskit.trend.gate.ask import ask
from chaoskit.trend.gate.decide import decide
from chaoskit.trend.gate.decision import BLOCKED, INCONCLUSIVE, NOTHING, PASSED, Decision, schema
from chaoskit.trend.gate.report import markdown, text, write
from chaoskit.trend.gate.settings import Settings, load_settings

__all__ = [
    "BLOCKED",
    "INCONCLUSIVE",
    "NOTHING",
    "PASSED",
    "Decision",
    "Settings",
    "ask",
    "decide",
    "load_settings",
    "markdown",
    "schema",
    "text",
    "write",
]
