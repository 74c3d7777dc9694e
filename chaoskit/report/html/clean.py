"""Text of services made fit to be read: nothing in it can move the cursor, turn the line around or end the file."""

from __future__ import annotations

from chaoskit.base.mask import ANSI, UNSEEN
from chaoskit.base.units import counted


def clean(text: str) -> str:
    """``text`` without terminal colours, and with a sign for each character that is not one to see.

    NUL becomes ``␀``, a right-to-left override ``[U+202E]``. What is left can always be encoded as UTF-8.
    """
    text = ANSI.sub("", text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n"))
    return UNSEEN.sub(lambda match: _sign(ord(match[0])), text)


def clip(text: str, most: int) -> str:
    """``text``, or its first ``most`` characters and how many were cut."""
    return text if len(text) <= most else f"{text[:most]} … (+{counted(len(text) - most, 'characters')})"


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"[U+{code:04X}]"
