"""Values in the JSON body of an answer."""

from __future__ import annotations

import json
from typing import Any

from chaoskit.history import rows as r


class _Absent:
    """What stands at a path that leads nowhere: equal to nothing."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Any = _Absent()


def document(request: r.Request) -> Any:
    """The answer's body as JSON; :data:`ABSENT` where it is none, or longer than what the history keeps."""
    try:
        return json.loads(request.body)
    except ValueError:
        return ABSENT


def value(request: r.Request, path: str) -> Any:
    """The value at a dotted path of the answer's JSON, or :data:`ABSENT`.

    Of an answer that is longer than what the history keeps only those are known that were noted when it came
    (:meth:`chaoskit.expectations.base.Expectation.notes`).
    """
    return request.noted[path] if path in request.noted else at(document(request), path)


def at(document: Any, path: str) -> Any:
    """The value at a dotted path (``items.0.id``; a leading ``$.`` is allowed), or :data:`ABSENT`."""
    for step in path.removeprefix("$.").split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return ABSENT
    return document
