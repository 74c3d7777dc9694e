"""Secrets in what a service gave out: what looks like one, and values that a team has planted to be looked for.

A finding names the kind of secret and where it stood, never the secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from chaoskit.mask import MASK, mask, secrets_in

Planted = Annotated[list[Annotated[str, Field(min_length=4)]], Field(min_length=1)]
"""Values that must not be given out. Shorter ones would be found by chance."""

_EXCERPT = 120


def given_away(text: str) -> list[str]:
    """What looks like a secret in ``text``, also within the texts of a JSON document, where quotes are escaped."""
    return list(dict.fromkeys(kind for part in (text, *_texts(text)) for kind in secrets_in(part)))


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
