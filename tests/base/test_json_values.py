"""Values in JSON."""

from __future__ import annotations

import pytest

from chaoskit.base.json_values import ABSENT, at, same


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (1, 1.0), (True, True), ("1", "1"), (None, None), ([], []), ((1, True), [1, True]),
        ({"a": [{"b": False, "c": 0}]}, {"a": [{"c": 0, "b": False}]}),
    ],
)  # fmt: skip
def test_same(found, wanted):
    """A number is one number however it is written, and a mapping has no order."""
    assert same(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (1, True), (0, False), (1.0, True), ("1", 1), (None, False), ("", None), (ABSENT, None), (ABSENT, False),
        ([1], [True]), ([1, 2], [1]), ([1], 1), ({"a": 1}, {"a": 1, "b": None}), ({}, []),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}),
    ],
)  # fmt: skip
def test_not_the_same(found, wanted):
    """True is no number, not even within; nothing is the same as what is absent."""
    assert not same(found, wanted)
    assert not same(wanted, found)


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.0.b", 7), ("$.a.0.b", 7), ("a.1", ABSENT), ("a.b", ABSENT), ("a.0.b.c", ABSENT), ("a", [{"b": 7}])],
)
def test_at(path, value):
    """A path of names and of places in lists."""
    assert at({"a": [{"b": 7}]}, path) is value or at({"a": [{"b": 7}]}, path) == value
