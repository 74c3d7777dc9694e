"""Values in JSON: what stands at a path, and whether two are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class _Absent:
    """What stands at a path that leads nowhere: equal to nothing."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()


def at(document: Any, path: str) -> Any:
    """The value at a dotted path (``items.0.id``; a leading ``$.`` is allowed), or :data:`ABSENT`."""
    for step in path.removeprefix("$.").split("."):
        if isinstance(document, Mapping) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return ABSENT
    return document


def same(found: Any, wanted: Any) -> bool:
    """Whether two values are the same JSON, however deep: true is not 1, as it is for Python, but 1.0 is."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return found.keys() == wanted.keys() and all(same(value, wanted[key]) for key, value in found.items())
    if isinstance(found, list | tuple) and isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)
