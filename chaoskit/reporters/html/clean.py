"""Text of services made fit to be read: nothing in it can move the cursor, turn the line around or end the file."""

from __future__ import annotations

import re

from chaoskit.units import counted

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def clean(text: str) -> str:
    """``text`` without terminal colours, and with a sign for each character that is not one to see.

    NUL becomes ``␀``, a right-to-left override ``[U+202E]``. What is left can always be encoded as UTF-8.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n"))
    return _UNSEEN.sub(lambda match: _sign(ord(match[0])), text)


def clip(text: str, most: int) -> str:
    """``text``, or its first ``most`` characters and how many were cut."""
    return text if len(text) <= most else f"{text[:most]} … (+{counted(len(text) - most, 'characters')})"


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"[U+{code:04X}]"
