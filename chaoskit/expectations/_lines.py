"""Log lines as what they say: the JSON object of a structured log, or plain text."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from chaoskit.base.json_values import ABSENT, at
from chaoskit.history import rows as r


@functools.lru_cache(maxsize=16384)
def fields_of(line: str) -> Mapping[str, Any]:
    """The fields of a structured line; none for a line of text."""
    start = line.find("{")
    if start < 0 or line[:start].strip():
        return {}
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def field(log: r.Log, path: str) -> Any:
    """The value of a field: of this very name (``log.level``), else at this dotted path; ABSENT when there is none."""
    fields = fields_of(log.line)
    return fields[path] if path in fields else at(fields, path)


def text_field(log: r.Log, path: str) -> str:
    """A field as text; empty when it is absent or null."""
    value = field(log, path)
    return "" if value is ABSENT or value is None else str(value)
