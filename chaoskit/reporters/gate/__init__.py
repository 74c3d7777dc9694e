"""The gate: whether a run is good enough to go on, by its score, by severities, and against earlier runs."""

from __future__ import annotations

from chaoskit.reporters.gate.ask import ask
from chaoskit.reporters.gate.decide import decide
from chaoskit.reporters.gate.decision import BLOCKED, INCONCLUSIVE, NOTHING, PASSED, Decision, schema
from chaoskit.reporters.gate.report import markdown, text, write
from chaoskit.reporters.gate.settings import Settings, load_settings

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
