"""Bounds: how they are written, what they hold, and that a bound and its negation never agree."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.language.bounds import Bound, BoundError

DIMENSIONS = {"duration": "s", "ratio": "%", "rate": "/s", "size": "B", "number": ""}
NUMBERS = st.floats(0, 1e9).map(lambda number: round(number, 6))
VALUES = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("text", "dimension", "low", "high"),
    [
        (">= 99%", "ratio", 0.99, inf),
        ("≥99.9%", "ratio", 0.999, inf),
        ("< 250ms", "duration", -inf, 0.25),
        ("<= 3", "number", -inf, 3),
        ("≤ 64MB", "size", -inf, 64e6),
        ("> 30/s", "rate", 30, inf),
        ("= 3", "number", 3, 3),
        ("== 3", "number", 3, 3),
        ("1.5..2.5", "number", 1.5, 2.5),
        ("1s .. 2s", "duration", 1, 2),
        ("-1..1", "number", -1, 1),
        ("1s ± 30%", "duration", 0.7, 1.3),
        ("1s±200ms", "duration", 0.8, 1.2),
        ("10 +- 2", "number", 8, 12),
        ("10 +/- 10%", "number", 9, 11),
    ],
)
def test_every_form_of_a_bound(text: str, dimension: str, low: float, high: float) -> None:
    """All forms, with and without spaces, in base units."""
    bound = Bound.parse(text, dimension)
    assert (bound.low, bound.high) == (pytest.approx(low), pytest.approx(high))
    assert str(bound) == text


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("", "number"),
        ("3", "number"),
        (3, "number"),
        (None, "duration"),
        ([">= 1"], "number"),
        ("99%", "ratio"),
        (">= 99", "ratio"),
        (">= 1s", "ratio"),
        (">=", "number"),
        ("=> 3", "number"),
        ("< 1 s s", "duration"),
        ("2..1", "number"),
        ("1..", "number"),
        ("1s ± ", "duration"),
        ("1s ± -1%", "duration"),
        ("1 ± -1", "number"),
        (">= nan", "number"),
        ("< inf", "number"),
        ("= 1e999s", "duration"),
        ("1..inf", "number"),
        ("1 ± inf", "number"),
    ],
)
def test_what_is_no_bound_is_refused_with_the_legal_forms(text: object, dimension: str) -> None:
    """The error says what the text was taken for and lists every form."""
    with pytest.raises(BoundError, match=f"is not a bound for a {dimension}") as caught:
        Bound.parse(text, dimension)
    assert len(caught.value.legal) == 5


@pytest.mark.parametrize("dimension", DIMENSIONS)
@given(number=NUMBERS, value=VALUES)
def test_a_bound_and_its_negation_never_agree(dimension: str, number: float, value: float) -> None:
    """Of ``>=`` and ``<``, and of ``>`` and ``<=``, exactly one holds for any value."""
    unit = DIMENSIONS[dimension]
    held = {sign: Bound.parse(f"{sign} {number}{unit}", dimension).holds(value) for sign in (">=", "<", ">", "<=")}
    assert held[">="] is not held["<"]
    assert held[">"] is not held["<="]
    assert not held[">"] or held[">="]
    assert not held["<"] or held["<="]


@given(number=NUMBERS)
def test_a_bound_holds_at_its_own_figure(number: float) -> None:
    """What is equal up to a rounding error is equal: ``>=``, ``<=`` and ``=`` hold, ``>`` and ``<`` do not."""
    for value in (number, number * (1 + 1e-12), number - number * 1e-12):
        held = {sign: Bound.parse(f"{sign} {number}", "number").holds(value) for sign in (">=", "<=", "=", ">", "<")}
        assert held == {">=": True, "<=": True, "=": True, ">": False, "<": False}


@given(a=NUMBERS, b=NUMBERS, value=VALUES)
def test_a_range_is_both_of_its_ends(a: float, b: float, value: float) -> None:
    """``A..B`` holds when ``>= A`` and ``<= B`` do."""
    low, high = sorted((a, b))
    both = Bound.parse(f">= {low}", "number").holds(value) and Bound.parse(f"<= {high}", "number").holds(value)
    assert Bound.parse(f"{low}..{high}", "number").holds(value) is both


@given(middle=NUMBERS, percent=st.integers(0, 200))
def test_a_spread_is_a_range(middle: float, percent: int) -> None:
    """``M ± P%`` reaches as far to both sides and holds at its middle."""
    bound = Bound.parse(f"{middle} ± {percent}%", "number")
    assert bound.holds(middle)
    assert middle - bound.low == pytest.approx(bound.high - middle, abs=1e-6)
    assert bound.high == pytest.approx(middle * (1 + percent / 100))


@pytest.mark.parametrize("text", [">= 1", "< 1", "= 1", "0..1", "1 ± 1"])
def test_no_bound_holds_for_nothing(text: str) -> None:
    """A figure that could not be measured (NaN) meets no bound."""
    assert not Bound.parse(text, "number").holds(float("nan"))


@pytest.mark.parametrize(
    ("dimension", "value", "text"),
    [
        ("duration", 0.25, "250ms"),
        ("ratio", 0.5, "50%"),
        ("rate", 40, "40/s"),
        ("size", 64e6, "64MB"),
        ("number", 3, "3"),
    ],
)
def test_a_figure_is_shown_in_the_bounds_unit(dimension: str, value: float, text: str) -> None:
    """What was seen reads like what was expected."""
    assert Bound("", dimension).show(value) == text
