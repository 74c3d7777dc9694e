"""Secrets in what a service gave out: what looks like one, and values that a team has planted to be looked for.

A finding names the kind of secret and where it stood, never the secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from chaoskit.mask import MASK, mask, secrets_in

Planted = Annotated[list[Annotated[str, Field(min_length=4)]], Field(min_length=1)]
"""Values that must not be given out. Shorter ones would be found by chance."""

_EXCERPT = 120

_FOR_THE_CLIENT = re.compile("cookie|authenticate|[cx]srf", re.IGNORECASE)
"""Headers that give a client its own secret, and those that say which it has to show."""


def given_away(text: str) -> list[str]:
    """What looks like a secret in ``text``, also within the texts of a JSON document, where quotes are escaped."""
    return list(dict.fromkeys(kind for part in (text, *_texts(text)) for kind in secrets_in(part)))


def given_away_in_header(name: str, value: str) -> list[str]:
    """What looks like a secret in a header of an answer, but for what it is sent to the client for."""
    return [] if _FOR_THE_CLIENT.search(name) else secrets_in(f"{name}: {value}")


def planted_in(text: str, planted: Sequence[str]) -> list[str]:
    """Which of the planted values stand in ``text``, by number."""
    parts = [text, *_texts(text)]
    return [f"planted value {n}" for n, value in enumerate(planted, 1) if any(value in part for part in parts)]


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
