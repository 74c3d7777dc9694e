"""Values in the JSON body of an answer."""

from __future__ import annotations

import json
from typing import Any

from chaoskit.base.json_values import ABSENT, at
from chaoskit.history import rows as r


class _Unknown:
    """What stands at a path of an answer whose rest is not known: equal to nothing."""

    def __repr__(self) -> str:
        return "not known"


UNKNOWN: Any = _Unknown()


def document(request: r.Request) -> Any:
    """The answer's body as JSON; ABSENT where it is none, or longer than what the history keeps."""
    try:
        return json.loads(request.body)
    except ValueError:
        return ABSENT


def unread(request: r.Request) -> str:
    """Why the history does not have the whole body of the answer; empty when it has."""
    if request.unread is not None:
        return request.unread
    return "too long" if request.size > len(request.body.encode()) else ""  # recorded before it was told


def value(request: r.Request, path: str) -> Any:
    """The value at a dotted path of the answer's JSON, ABSENT, or :data:`UNKNOWN`.

    Of an answer that is longer than what the history keeps only those are known that were noted when it came
    (:meth:`chaoskit.language.expectation.Expectation.notes`).
    """
    found = request.noted[path] if path in request.noted else at(document(request), path)
    return UNKNOWN if found is ABSENT and unread(request) and path not in request.absent else found
