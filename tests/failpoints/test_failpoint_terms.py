"""The term language."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.failpoints.terms import Term, TermsError, format_terms, parse_terms, sleep_seconds


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("off", [Term("off")]),
        ("panic", [Term("panic")]),
        ('panic("boom")', [Term("panic", "boom")]),
        ("return", [Term("return")]),
        ("return()", [Term("return")]),
        ("return(null)", [Term("return")]),
        ("return(0012)", [Term("return", 12)]),
        ("return(-3)", [Term("return", -3)]),
        ("return(true)", [Term("return", True)]),
        ("return(1.5)", [Term("return", 1.5)]),
        (r'return("a\"b)->;=")', [Term("return", 'a"b)->;=')]),
        ('return({"a": [1, {"b": null}]})', [Term("return", {"a": [1, {"b": None}]})]),
        ("return( 7 )", [Term("return", 7)]),
        ("sleep(100)", [Term("sleep", 100)]),
        ('sleep("1.5s")', [Term("sleep", "1.5s")]),
        ("sleep(10s)", [Term("sleep", "10s")]),
        ("print", [Term("print")]),
        ("break", [Term("break")]),
        ("abort", [Term("abort")]),
        ("exit", [Term("exit")]),
        ("exit(3)", [Term("exit", 3)]),
        ("hang", [Term("hang")]),
        ("50.0%sleep(100)", [Term("sleep", 100, (("%", 50.0),))]),
        ("50%panic", [Term("panic", None, (("%", 50.0),))]),
        ("3.%panic", [Term("panic", None, (("%", 3.0),))]),
        ("0*panic", [Term("panic", None, (("*", 0),))]),
        ("50.0%2*panic", [Term("panic", None, (("%", 50.0), ("*", 2)))]),
        ("2*50.0%panic", [Term("panic", None, (("*", 2), ("%", 50.0)))]),
        ('2*return("x")->1*panic', [Term("return", "x", (("*", 2),)), Term("panic", None, (("*", 1),))]),
    ],
)
def test_terms_are_read(text: str, chain: list[Term]) -> None:
    """Each legal form means what gofail's page (and ours) says."""
    assert list(parse_terms(text)) == chain


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        ("", 1, "expected a type (off, return, sleep, panic, break, print; beyond gofail abort, exit, hang)"),
        ("pnic", 1, "expected a type"),
        ("50.0%pnic", 6, "found 'pnic'"),
        ("2panic", 2, "expected '%' or '*'"),
        ("2", 2, "found the end"),
        ("1.5*panic", 1, "a count is a whole number"),
        ("101%panic", 1, "at most 100"),
        ("-1*panic", 1, "expected a type"),
        ("panic->", 8, "found the end"),
        ("panic-panic", 6, "expected '->'"),
        ("panic panic", 6, "expected '->'"),
        ("panicked", 6, "expected '->'"),
        ('return("x"', 11, "expected ')'"),
        ('return("x', 8, "expected a JSON value"),
        ("return(", 8, "expected a JSON value"),
        ("return(1", 9, "expected ')'"),
        ("return(1 2)", 10, "expected ')'"),
        ("return(x)", 8, "expected a JSON value"),
        ("return(NaN)", 8, "expected a JSON value"),
        ("return(" + "[" * 30000, 8, "expected a JSON value"),
        ("return(" + "1" * 5000 + ")", 8, "expected a JSON value"),
        ("9" * 400 + "*panic", 1, "too long"),
        ("sleep", 6, "sleep(100)"),
        ("sleep()", 7, "sleep(100)"),
        ("sleep(true)", 7, "not a duration"),
        ("sleep(-5)", 7, "from 0 to 365 days"),
        ('sleep("10 s")', 7, "ns, us, ms, s, m, h"),
        ("sleep(10x)", 7, "not a duration"),
        ("sleep(9999h)", 7, "from 0 to 365 days"),
        ("exit(256)", 6, "from 0 to 255"),
        ("exit(true)", 6, "from 0 to 255"),
        ("hang(3)", 6, "takes no value"),
        ("2*return(1)->3*panik", 16, "found 'panik'"),
    ],
)
def test_errors_name_position_and_what_is_legal(text: str, position: int, why: str) -> None:
    """What cannot be read is refused with the place and the legal forms."""
    with pytest.raises(TermsError) as error:
        parse_terms(text)
    assert str(error.value).startswith(f"at character {position} of ")
    assert why in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (100, 0.1),
        (0, 0),
        ("0", 0),
        ("1.5s", 1.5),
        ("1m30s", 90),
        ("1h", 3600),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        (".5s", 0.5),
    ],
)
def test_durations_are_gos(value: object, seconds: float) -> None:
    """A bare number is milliseconds; a text is a Go duration."""
    assert math.isclose(sleep_seconds(value), seconds, abs_tol=1e-12)


unhurried = settings(deadline=None, database=None)  # the machine may be loaded
texts = st.text('ab 0;=)(->"\\/\n\té☃\U0001f600', max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
values = {
    "off": st.none(),
    "return": json_values,
    "sleep": st.integers(0, 10**9) | st.sampled_from(["1s", "1m30s", "1.5h", "200us"]),
    "panic": json_values,
    "break": st.none(),
    "print": json_values,
    "abort": st.none(),
    "exit": st.none() | st.integers(0, 255),
    "hang": st.none(),
}
modifiers = st.lists(
    st.tuples(st.just("%"), st.floats(0, 100)) | st.tuples(st.just("*"), st.integers(0, 10**17)), max_size=3
).map(tuple)
terms = st.sampled_from(sorted(values)).flatmap(lambda kind: st.builds(Term, st.just(kind), values[kind], modifiers))


@unhurried
@given(st.lists(terms, min_size=1, max_size=4))
def test_what_is_written_is_read_back(chain: list[Term]) -> None:
    """format_terms and parse_terms are inverse."""
    assert list(parse_terms(format_terms(chain))) == chain


@unhurried
@given(st.text(alphabet='%*->()"019.soffreturnsleeppanic\\[]{}', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail otherwise; what it accepts has one canonical form."""
    try:
        chain = parse_terms(text)
    except TermsError:
        return
    assert parse_terms(format_terms(chain)) == chain


def test_canonical_text_suits_gofail() -> None:
    """gofail wants a point in a percentage and none in a count."""
    assert format_terms(list(parse_terms("50%3*return(1)->1.50%panic"))) == "50.0%3*return(1)->1.5%panic"
