"""Text of services: nothing in it can move a cursor, turn a line around or end a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.report.html.clean import clean, clip


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain, ü and ✓ stay\n\tas they are", "plain, ü and ✓ stay\n\tas they are"),
        ("\x1b[31mred\x1b[0m \x1b[1;38;5;9mbold\x1b[K", "red bold"),
        ("\x1b]0;title\x07after \x1b]8;;http://x\x1b\\link", "after link"),
        ("a\x00b\x07c\x7f", "a␀b␇c␡"),
        ("abc\u202ecba\u2066x\u200f", "abc[U+202E]cba[U+2066]x[U+200F]"),
        ("\ud800 alone", "[U+D800] alone"),
        ("windows\r\nline, old mac\rline", "windows\nline, old mac␍line"),
        ("\x85\x9b31m", "[U+0085][U+009B]31m"),
    ],
)
def test_what_cannot_be_seen_is_named(text: str, cleaned: str) -> None:
    """Colours go, other controls become a sign, bidi controls their number."""
    assert clean(text) == cleaned


@given(st.text(st.characters(codec=None)))
def test_anything_can_be_written(text: str) -> None:
    """What is left can be encoded, and holds no escape; doing it again changes nothing."""
    cleaned = clean(text)
    assert "\x1b" not in cleaned
    assert "\x00" not in cleaned
    cleaned.encode()
    assert clean(cleaned) == cleaned


def test_long_texts_are_cut() -> None:
    """And it is said how much is missing."""
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcdef … (+1 character)"
