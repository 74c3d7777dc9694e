"""Secrets out of everything that leaves the run's folder: URLs with passwords, tokens, keys."""

from __future__ import annotations

import re

MASK = "***"

_PATTERNS = (
    # scheme://user:secret@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(@)", re.IGNORECASE), rf"\1{MASK}\2"),
    # Authorization: Bearer secret
    (re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
    # password=secret, "api_key": "secret"
    (
        re.compile(
            r"(\b[\w-]*(?:password|passwd|secret|token|(?:api|access|private)[_-]?key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


def mask(text: str) -> str:
    """``text`` with what looks like a secret replaced by ``***``."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
