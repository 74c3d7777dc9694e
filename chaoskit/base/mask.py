"""Secrets out of everything that is written: URLs with passwords, tokens, keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
STORED = "chaoskit.masked"
"""What stands for a secret in a history's files. Whoever judges them again still sees that there was one."""
By = str | Callable[[str], str]
"""What stands for a secret: a word, or what gives one for each secret."""
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
"""What steers a terminal: colours, the title of its window."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""A character that is not one to see."""
_SHORT = 128
"""Characters of a text that is likely to come again: the name of a metric, the value of a header."""
_NO_VALUE = {"", "null", "none", "nil", "true", "false", "undefined", "redacted", "masked", "hidden", "filtered"}
"""What stands where a secret is missing, or was taken out."""

_NAME = (
    r"(?:pass(?:word|wd|phrase)|secret|token|(?:api|access|private)[_-]?key|pwd(?!\\*[\"']?\s*[:=]\s*\\*[\"']?[/~]))"
)
_IS = r"\\*[\"']?\s*(?:[:=]|%3[ad])\s*"
_VALUE = r"(?:b?(?P<q>\\*[\"']))?)(?(q)(?:(?!(?P=q))(?:\\.|[^\n\\]))+|(?:[^\s\"',;&}\\]|\\+(?![\\\"']))+)"
"""In quotes (those of a text within a text have strokes before them) up to the next, else up to what ends a value. The
opening quote belongs to what stays."""

# Each: what it is (empty: nobody is told that it stands there), words of which one stands in every match (a search for
# words costs far less than the pattern), the pattern. Its groups 1 and ``end`` stay.
#
# Services' lines are masked while a scenario is measured. So each pattern begins with its word, and whatever it tries
# from there is bounded or consumed: no text takes longer than a multiple of its length.
_PATTERNS = (
    # scheme://user:secret@host; the secret may hold slashes and at signs, and a port is none
    (
        "a password in a URL",
        ("://",),
        re.compile(r"(://[^\s:/@]{0,256}:)(?!\d+[/?#])(?:(?!://)[^\s\"'<>]){1,256}(?P<end>@)"),
    ),
    # Authorization: Bearer secret
    (
        "credentials of an Authorization header",
        ("bearer", "basic"),
        re.compile(r"(\b(?:bearer|basic)\s{1,16})[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    ),
    (
        "",
        ("authorization",),
        re.compile(rf"(authorization{_IS}\\*[\"']?(?:token|digest|apikey)\s+)[^\n'\\]+", re.IGNORECASE),
    ),
    ("", ("cookie",), re.compile(rf"(cookie{_IS}\\*[\"']?)[^\s\"'\\][^\n\"'\\]*", re.IGNORECASE)),
    (
        "a private key",
        ("private key",),
        re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)(?:(?!-----).){1,16384}", re.DOTALL | re.IGNORECASE),
    ),
    # --password secret, and in SQL PASSWORD 'secret'
    (
        "",
        ("pass", "pwd", "secret", "token", "key"),
        re.compile(rf"((?<![\w-])--[\w-]{{0,40}}?{_NAME}\s{{1,16}}(?![-\s]){_VALUE}", re.IGNORECASE),
    ),
    (
        "",
        ("password", "identified"),
        re.compile(r"((?:password|identified\s{1,16}by)\s{1,16}')[^'\n]+", re.IGNORECASE),
    ),
    # password=secret, "api_key": "secret", and the same escaped within a text of JSON
    (
        "a password, token or key",
        ("pass", "pwd", "secret", "token", "key"),
        re.compile(rf"({_NAME}{_IS}{_VALUE}", re.IGNORECASE),
    ),
)
_JSON = json.JSONDecoder()
_BARE_VALUE = re.compile(r"(\\{0,8}\")\s{0,16}:\s*$")
_STRUCTURE = re.compile(rf"(?:{_NAME}|cookie|authorization){_IS}(?=[{{[])", re.IGNORECASE)


def mask(text: str, by: By = MASK) -> str:
    """``text`` with what looks like a secret replaced by ``***``.

    A secret may be broken up by what nobody sees (``pass\\0word=``, colours): then that is taken out, too.
    """
    return _again(text, by) if len(text) <= _SHORT else _masked(text, by)


@lru_cache(4096)
def _again(text: str, by: By) -> str:
    return _masked(text, by)


def _masked(text: str, by: By) -> str:
    masked = _mask(text, by)
    if UNSEEN.search(masked):
        seen = bare(masked)
        if (again := _mask(seen, by)) != seen:
            return again
    return masked


def bare(text: str) -> str:
    """``text`` without what steers a terminal, and without characters that are none to see."""
    return UNSEEN.sub("", ANSI.sub("", text))


def _mask(text: str, by: By) -> str:
    folded = text.casefold()  # as the patterns ignore case; what stands for a secret adds none of the words
    if "{" in text or "[" in text:
        text = _mask_structures(text, by)
    for _, words, pattern in _PATTERNS:
        if any(word in folded for word in words):
            text = pattern.sub(lambda match: _replaced(match, by), text)
    return text


def _replaced(match: re.Match[str], by: By) -> str:
    secret = _secret(match)
    # A history is judged again: what gave nothing away must not seem to have.
    if _is_none(secret) or (callable(by) and not _tells(match)):
        return match[0]
    quote = _BARE_VALUE.search(match[1])  # of a number in JSON, which is to stay JSON
    around = quote[1] if quote else ""
    return f"{match[1]}{around}{_word(by, secret)}{around}{_end(match)}"


def _word(by: By, secret: str) -> str:
    return by if isinstance(by, str) else by(secret)


def _is_none(value: object) -> bool:
    """Whether it is what stands where a secret is missing."""
    return str(value).strip("*<>[]()\\").lower() in _NO_VALUE


def _secret(match: re.Match[str]) -> str:
    return match[0][len(match[1]) :].removesuffix(_end(match))


def _end(match: re.Match[str]) -> str:
    return match.groupdict().get("end") or ""


def _mask_structures(text: str, by: By) -> str:
    """An object or list of JSON under the name of a secret; to the end of the line where it is none."""
    parts, done = [], 0
    for match in _STRUCTURE.finditer(text):
        if match.end() < done:  # within the one before
            continue
        try:
            end = _JSON.raw_decode(text, match.end())[1]
        except (ValueError, RecursionError):
            end = text.find("\n", match.end())
            end = len(text) if end < 0 else end
        parts += [text[done : match.end()], f'"{_word(by, text[match.end() : end])}"']
        done = end
    return "".join([*parts, text[done:]]) if parts else text


def secrets_in(text: str) -> list[str]:
    """What kinds of secret stand unmasked in ``text``, each named once and none repeated."""
    ways = (text, bare(text)) if UNSEEN.search(text) else (text,)
    return [
        name
        for name, _, pattern in _PATTERNS
        if name and any(_tells(match) for way in ways for match in pattern.finditer(way))
    ]


def _tells(match: re.Match[str]) -> bool:
    """Whether what a pattern found is more than a word: ``token: null``, ``password=***`` and "basic functions" give
    nothing away.
    """
    value = _secret(match).strip("*<>[]()\\")
    prose = match[1].lower().startswith(("bearer", "basic")) and value.isalpha() and value.islower()
    return not prose and not _is_none(value)


_KEPT_SECRET = re.compile(r"^(?:proxy-)?authorization$|^(?:set-)?cookie$", re.IGNORECASE)


def mask_values(data: Any, by: By = MASK) -> Any:
    """JSON-like ``data`` with every text masked, and what stands under the name of a secret replaced as a whole."""
    if isinstance(data, str):
        return mask(data, by)
    if isinstance(data, Mapping):
        return {
            key: _word(by, str(value)) if names_secret(str(key)) and not _is_none(value) else mask_values(value, by)
            for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [mask_values(item, by) for item in data]
    return data


def mask_texts(data: Any, by: By = MASK) -> Any:
    """JSON-like ``data`` with every text masked, whatever it is called: an operation may be called get-token."""
    if isinstance(data, str):
        return mask(data, by)
    if isinstance(data, Mapping):
        return {key: mask_texts(value, by) for key, value in data.items()}
    return [mask_texts(value, by) for value in data] if isinstance(data, list | tuple) else data


@lru_cache(4096)
def names_secret(key: str) -> bool:
    """Whether what is called so is a secret: a header, or the last of a dotted path in JSON or what that lies in."""
    steps = (key, *key.split("."))
    return any(bool(_KEPT_SECRET.match(step)) or mask(f"{step}=x") != f"{step}=x" for step in steps)
