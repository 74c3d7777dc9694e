"""Quantities with units: what is read, what is refused, and that texts lead back to their figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.base import units


def test_counted() -> None:
    """One thing is one thing: the unit is the plural, as the faults have it."""
    told = [
        units.counted(1, things) for things in ("connections", "processes", "deliveries", "files", "series", "bytes")
    ]
    assert told == ["1 connection", "1 process", "1 delivery", "1 file", "1 series", "1 byte"]
    assert [units.counted(count, "processes") for count in (0, 2)] == ["0 processes", "2 processes"]


PARSERS: dict[Callable[[object], float], dict[str, float]] = {
    units.parse_duration: units.DURATION_UNITS,
    units.parse_size: units.SIZE_UNITS,
    units.parse_rate: units.RATE_UNITS,
    units.parse_bandwidth: units.BANDWIDTH_UNITS,
    units.parse_ratio: units.RATIO_UNITS,
}


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_duration, "800ms", 0.8),
        (units.parse_duration, "250 ms", 0.25),
        (units.parse_duration, " 1.5s ", 1.5),
        (units.parse_duration, "10us", 10e-6),
        (units.parse_duration, "10µs", 10e-6),
        (units.parse_duration, "2m", 120),
        (units.parse_duration, "2min", 120),
        (units.parse_duration, ".5h", 1800),
        (units.parse_duration, "0s", 0),
        (units.parse_duration, "-1s", -1),
        (units.parse_duration, "1e3ms", 1),
        (units.parse_size, "64KB", 64000),
        (units.parse_size, "64KiB", 65536),
        (units.parse_size, "1.5MB", 1.5e6),
        (units.parse_rate, "40/s", 40),
        (units.parse_rate, "90/m", 1.5),
        (units.parse_rate, "7200/h", 2),
        (units.parse_bandwidth, "100KB/s", 1e5),
        (units.parse_ratio, "99.9%", 0.999),
        (units.parse_ratio, "110%", 1.1),
    ],
)
def test_quantities(parse: Callable[[object], float], text: str, value: float) -> None:
    """Base units come out: seconds, bytes, events per second, shares. Decimal texts stay exact."""
    assert parse(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text", ["", "5", 5, 0, 1.5, None, True, [], "s", "5 5s", "5x", "ms5", "1_0s", "5sec", "nan s"]
)
def test_what_is_no_quantity_is_refused_with_the_legal_units(parse: Callable[[object], float], text: object) -> None:
    """A bare number, another unit or plain nonsense: the error lists the units."""
    with pytest.raises(units.UnitError) as caught:
        parse(text)
    assert caught.value.legal == tuple(PARSERS[parse])
    assert all(unit in str(caught.value) for unit in PARSERS[parse])


def test_units_of_one_kind_are_refused_for_another() -> None:
    """No unit is legal for two kinds of quantities, but for a ratio's and a rate's own."""
    for parse, own in PARSERS.items():
        for unit in {unit for other in PARSERS.values() for unit in other} - set(own):
            with pytest.raises(units.UnitError):
                parse(f"1{unit}")


@given(number=st.decimals(0, 10**6, places=3), unit=st.sampled_from(sorted(units.DURATION_UNITS)))
def test_durations_scale_with_their_unit(number: object, unit: str) -> None:
    """The figure is the number times the unit, to the last digits of a float."""
    assert units.parse_duration(f"{number}{unit}") == pytest.approx(float(str(number)) * units.DURATION_UNITS[unit])


@given(seconds=st.floats(1e-6, 86400))
def test_a_duration_that_was_shown_can_be_read(seconds: float) -> None:
    """Three significant digits survive."""
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds, rel=6e-3)


@given(size=st.floats(1, 1e12))
def test_a_size_that_was_shown_can_be_read(size: float) -> None:
    """Three significant digits survive."""
    assert units.parse_size(units.format_size(size)) == pytest.approx(size, rel=6e-3)


@given(rate=st.floats(0.01, 1e6))
def test_a_rate_that_was_shown_can_be_read(rate: float) -> None:
    """Three significant digits survive."""
    assert units.parse_rate(units.format_rate(rate)) == pytest.approx(rate, rel=6e-3)


@given(ratio=st.floats(0, 1))
def test_a_share_is_never_rounded_up_to_all(ratio: float) -> None:
    """Four significant digits survive, and 100% is shown for nothing less."""
    text = units.format_ratio(ratio)
    assert units.parse_ratio(text) == pytest.approx(ratio, rel=6e-4, abs=1e-12)
    assert text != "100%" or ratio == 1
