"""A fault's evidence in words: what was counted, without what the scenario says anyway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chaoskit.report.summary import flat

_SETTINGS = {"type", "attributes", "at", "terms", "mode", "signal", "quota", "netem", "offset", "stream"}
"""Facts that repeat how the fault was set."""


def counters(evidence: Mapping[str, Any]) -> list[str]:
    """``name=value`` of each fact that was observed and is not zero; of a list of records, how many there are."""
    observed = {name: value for name, value in evidence.items() if name not in _SETTINGS}
    return [f"{name}={_counted(value)}" for name, value in flat(observed) if value]


def plain(value: Any) -> str:
    """A fact as text: a text as it is, lists and records as JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _counted(value: Any) -> str:
    records = isinstance(value, (list, tuple)) and any(isinstance(each, (Mapping, list, tuple)) for each in value)
    return str(len(value)) if records else plain(value)
