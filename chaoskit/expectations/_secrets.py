"""Secrets in what a service gave out: what looks like one, and values that a team has planted to be looked for.

A finding names the kind of secret and where it stood, never the secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field

from chaoskit.base.errors import BrokenError
from chaoskit.base.json_values import same
from chaoskit.base.mask import MASK, STORED, mask, secrets_in

Planted = Annotated[list[Annotated[str, Field(min_length=4)]], Field(min_length=1)]
"""Values that must not be given out. Shorter ones would be found by chance."""

V = TypeVar("V")
_EXCERPT = 120
_MARK = re.compile(rf"{re.escape(STORED)}(?:-[0-9a-f]{{16}})?")


class MaskedError(BrokenError):
    """What is to be compared was a secret, and is not known any more: it was masked when it was written."""


def in_sight(value: V) -> V:
    """``value``, to be compared. Raises MaskedError where the history's files hold less of it than was seen."""
    text = value if isinstance(value, str) else repr(value) if isinstance(value, dict | list) else ""
    if STORED in text:
        raise MaskedError("it was compared with a secret, which the files of a history do not hold: run it again")
    return value


def is_same(found: Any, wanted: Any) -> bool:
    """Whether both are the same JSON. Raises MaskedError where that is not known."""
    if isinstance(found, str) and STORED in found:
        begins, *_, ends = _MARK.split(found)
        if not (str(wanted).startswith(begins) and str(wanted).endswith(ends)):
            return False  # they differ in what is no secret
    return same(in_sight(found), wanted)


def matches(pattern: str, text: str) -> bool:
    """Whether ``pattern`` matches anywhere in ``text``. Raises MaskedError where a secret may have been what did."""
    if STORED not in text:
        return re.search(pattern, text) is not None
    marks = [mark.span() for mark in _MARK.finditer(text)]
    found = list(re.finditer(pattern, text))
    if any(all(match.end() <= start or end <= match.start() for start, end in marks) for match in found):
        return True
    if found or text.startswith(STORED):
        in_sight(text)
    return False


_FOR_THE_CLIENT = re.compile("cookie|authenticate|[cx]srf", re.IGNORECASE)
"""Headers that give a client its own secret, and those that say which it has to show."""


def given_away(text: str) -> list[str]:
    """What looks like a secret in ``text``, also within the texts of a JSON document, where quotes are escaped."""
    return list(dict.fromkeys(kind for part in (text, *_texts(text)) for kind in secrets_in(part)))


def given_away_in_header(name: str, value: str) -> list[str]:
    """What looks like a secret in a header of an answer, but for what it is sent to the client for."""
    return [] if _FOR_THE_CLIENT.search(name) else secrets_in(f"{name}: {value}")


def planted_in(text: str, planted: Sequence[str]) -> list[str]:
    """Which of the planted values stand in ``text``, by number. Raises MaskedError where that is not known."""
    parts = [text, *_texts(text)]
    found = [f"planted value {n}" for n, value in enumerate(planted, 1) if any(value in part for part in parts)]
    if not found:
        in_sight(text)
    return found


def excerpt(text: str, planted: Sequence[str] = ()) -> str:
    """The beginning of ``text``, with what is secret in it masked."""
    for value in planted:
        # The longest first: what is written with escapes may begin with the value itself.
        for written in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], value):
            text = text.replace(written, MASK)
    text = mask(text)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …"


def _texts(text: str) -> Iterator[str]:
    """All strings within a JSON document; none when ``text`` is no such document."""
    if not text.lstrip().startswith(("{", "[")):
        return
    try:
        waiting: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
