"""Extra traffic, and the fault that does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.base.clock import now
from chaoskit.faults.burst import Burst
from chaoskit.faults.noop import Noop
from chaoskit.language.fault import FAULTS

if TYPE_CHECKING:
    from tests.faults.conftest import FaultContext


def burst(**arguments: Any) -> Burst:
    return Burst.model_validate({"operation": "place-order", **arguments}, context={"operations": {"place-order"}})


def test_a_rate(context: FaultContext) -> None:
    """A stream at that rate begins with the window and ends with it; what was answered is counted."""
    began = now()
    with burst(rate="200/s").inject(context) as evidence:
        (stream,) = context.streams.values()
        assert (stream.op, stream.rate, stream.count) == ("place-order", 200.0, None)
        assert began <= stream.start <= now()
        assert context.stopped == []
        context.answered = 170
    assert context.stopped == [stream.id]
    assert (evidence.touched, evidence.unit) == (170, "requests")
    assert evidence.facts == {"stream": stream.id, "rate": 200.0}


def test_a_count(context: FaultContext) -> None:
    """All at once; two bursts have streams of their own."""
    with burst(count=100).inject(context) as first, burst(count=50).inject(context) as second:
        assert sorted(stream.count or 0 for stream in context.streams.values()) == [50, 100]
        assert {stream.rate for stream in context.streams.values()} == {None}
    assert first.facts["stream"] != second.facts["stream"]


def test_nothing_answered(context: FaultContext) -> None:
    """A burst of which nothing came back has touched nothing."""
    with burst(count=10).inject(context) as evidence:
        pass
    assert evidence.touched == 0


def test_stopped_when_the_body_raises(context: FaultContext) -> None:
    """An exception ends the stream."""
    with pytest.raises(ZeroDivisionError), burst(rate="10/s").inject(context):
        raise ZeroDivisionError
    assert context.stopped == list(context.streams)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a rate or a count"),
        ({"rate": "10/s", "count": 10}, "either a rate or a count"),
        ({"rate": 10}, "10 is not a rate"),
        ({"rate": "0/s"}, "sends nothing"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"count": 1, "operation": "place-odrer"}, "unknown operation 'place-odrer'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    """Refused at load."""
    with pytest.raises(ValidationError, match=message):
        burst(**arguments)


def test_noop(context: FaultContext) -> None:
    """It does nothing, and is not vacuous."""
    with Noop().inject(context) as evidence:
        assert evidence.touched == 0
    assert (evidence.touched, evidence.unit) == (1, "windows")
    with pytest.raises(ValidationError, match="Extra inputs"):
        Noop.model_validate({"on": "echo"})


def test_all_of_them() -> None:
    """The faults there are, by their names in scenarios."""
    expected = "latency bandwidth timeout reset drop down slow_close slice limit_data kill pause restart panic"
    expected += " failpoint hang sleep abort exit pool_exhaustion burst noop"
    assert set(expected.split()) <= set(FAULTS.names())
