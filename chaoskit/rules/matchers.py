"""Alertmanager's matchers: ``severity="P1"``, ``service=~"a|b"``, also as ``match:`` and ``match_re:``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_MATCHER = re.compile(
    r"""\s*(?P<name>[a-zA-Z_]\w*)\s*(?P<sign>=~|!~|!=|=)\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^",{}]*?))\s*(?:,|$)"""
)
_KEYS: dict[str, type] = {"matchers": list, "match": dict, "match_re": dict}
_ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}


class Matchers:
    """All must hold; a label that is not there is empty."""

    def __init__(self, tests: Iterable[tuple[str, str, str]]) -> None:
        self._tests = [(name, sign, re.compile(value) if "~" in sign else value) for name, sign, value in tests]

    def fit(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` hold what is asked."""
        for name, sign, wanted in self._tests:
            text = labels.get(name, "")
            same = text == wanted if isinstance(wanted, str) else wanted.fullmatch(text) is not None
            if same == sign.startswith("!"):
                return False
        return True


def read(texts: Iterable[str], equal: Mapping[str, Any], patterns: Mapping[str, Any]) -> Matchers:
    """Of ``matchers:`` (``texts``), ``match:`` and ``match_re:``. Raises ValueError for what is no matcher."""
    tests = [test for text in texts for test in _split(str(text))]
    tests += [(name, "=", str(value)) for name, value in equal.items()]
    tests += [(name, "=~", str(value)) for name, value in patterns.items()]
    try:
        return Matchers(tests)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"a matcher's pattern cannot be read: {error}") from None


def of(said: Mapping[str, Any], side: str = "") -> Matchers:
    """Of a route, or with ``side`` (``source_``, ``target_``) of an inhibition. Raises ValueError."""
    texts, equal, patterns = (said.get(f"{side}{key}") or kind() for key, kind in _KEYS.items())
    if not (isinstance(texts, list) and isinstance(equal, dict) and isinstance(patterns, dict)):
        raise ValueError("matchers is a list of texts, match and match_re are mappings")
    return read(texts, equal, patterns)


def _split(text: str) -> Iterator[tuple[str, str, str]]:
    """The matchers of one text: several may stand in it, in braces or not."""
    rest = text.strip()
    if rest.startswith("{") and rest.endswith("}"):
        rest = rest[1:-1]
    place = 0
    while place < len(rest):
        found = _MATCHER.match(rest, place)
        if found is None:
            raise ValueError(f'{text!r} is no matcher: severity="P1", service=~"orders|payments"')
        quoted = found["quoted"]
        value = found["plain"] if quoted is None else re.sub(r"\\(.)", lambda c: _ESCAPES.get(c[1], c[0]), quoted)
        yield found["name"], found["sign"], value
        place = found.end()
