"""Secrets out of everything that is written: URLs with passwords, tokens, keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
STORED = "chaoskit.masked"
"""What stands for a secret in a history's files. Whoever judges them again still sees that there was one."""
_NO_VALUE = {"", "null", "none", "nil", "true", "false", "undefined", "redacted", "masked", "hidden", "filtered"}
"""What stands where a secret is missing, or was taken out."""

# Each: what it is, words of which one stands in every match (a search for words costs far less than the pattern),
# the pattern, what is left of it.
_PATTERNS = (
    # scheme://user:secret@host
    (
        "a password in a URL",
        ("://",),
        re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(@)", re.IGNORECASE),
        r"\1{}\2",
    ),
    # Authorization: Bearer secret
    (
        "credentials of an Authorization header",
        ("bearer", "basic"),
        re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        r"\1{}",
    ),
    # password=secret, "api_key": "secret", and the same escaped within a text of JSON
    (
        "a password, token or key",
        ("password", "passwd", "secret", "token", "key"),
        re.compile(
            r"(\b[\w-]*(?:password|passwd|secret|token|(?:api|access|private)[_-]?key)\\*[\"']?\s*[:=]\s*\\*[\"']?)"
            r"(?:[^\s\"',;&}\\]|\\+(?![\\\"']))+",
            re.IGNORECASE,
        ),
        r"\1{}",
    ),
)


def mask(text: str, by: str = MASK) -> str:
    """``text`` with what looks like a secret replaced by ``***``."""
    folded = text.casefold()  # as the patterns ignore case; what stands for a secret adds none of the words
    for _, words, pattern, replacement in _PATTERNS:
        if any(word in folded for word in words):
            text = pattern.sub(replacement.format(by), text)
    return text


def secrets_in(text: str) -> list[str]:
    """What kinds of secret stand unmasked in ``text``, each named once and none repeated."""
    return [name for name, _, pattern, _ in _PATTERNS if any(_tells(match) for match in pattern.finditer(text))]


def _tells(match: re.Match[str]) -> bool:
    """Whether what a pattern found is more than a word: ``token: null``, ``password=***`` and "basic functions" give
    nothing away.
    """
    end = match.start(2) if match.re.groups > 1 else match.end()
    value = match.string[match.end(1) : end].strip("*<>[]()\\")
    prose = match[1].lower().startswith(("bearer", "basic")) and value.isalpha() and value.islower()
    return not prose and value.lower() not in _NO_VALUE


_KEPT_SECRET = re.compile(r"^(?:proxy-)?authorization$|^(?:set-)?cookie$", re.IGNORECASE)


def mask_values(data: Any, by: str = MASK) -> Any:
    """JSON-like ``data`` with every text masked, and what stands under the name of a secret replaced as a whole."""
    if isinstance(data, str):
        return mask(data, by)
    if isinstance(data, Mapping):
        return {key: by if _names_secret(str(key)) else mask_values(value, by) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [mask_values(item, by) for item in data]
    return data


@lru_cache(4096)
def _names_secret(key: str) -> bool:
    return bool(_KEPT_SECRET.match(key)) or mask(f"{key}=x") != f"{key}=x"
