"""Extra traffic, and the fault that does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from chaoskit.clock import now
from chaoskit.faults.base import FAULTS
from chaoskit.faults.burst import Burst
from chaoskit.faults.noop import Noop

if TYPE_CHECKING:
    from tests.faults.conftest import World


def burst(**arguments: Any) -> Burst:
    return Burst.model_validate({"operation": "place-order", **arguments}, context={"operations": {"place-order"}})


def test_a_rate(world: World) -> None:
    """A stream at that rate begins with the window and ends with it; what was answered is counted."""
    began = now()
    with burst(rate="200/s").inject(world) as evidence:
        (stream,) = world.streams.values()
        assert (stream.op, stream.rate, stream.count) == ("place-order", 200.0, None)
        assert began <= stream.start <= now()
        assert world.stopped == []
        world.answered = 170
    assert world.stopped == [stream.id]
    assert (evidence.touched, evidence.unit) == (170, "requests")
    assert evidence.facts == {"stream": stream.id, "rate": 200.0}


def test_a_count(world: World) -> None:
    """All at once; two bursts have streams of their own."""
    with burst(count=100).inject(world) as first, burst(count=50).inject(world) as second:
        assert sorted(stream.count or 0 for stream in world.streams.values()) == [50, 100]
        assert {stream.rate for stream in world.streams.values()} == {None}
    assert first.facts["stream"] != second.facts["stream"]


def test_nothing_answered(world: World) -> None:
    """A burst of which nothing came back has touched nothing."""
    with burst(count=10).inject(world) as evidence:
        pass
    assert evidence.touched == 0


def test_stopped_when_the_body_raises(world: World) -> None:
    """An exception ends the stream."""
    with pytest.raises(ZeroDivisionError), burst(rate="10/s").inject(world):
        raise ZeroDivisionError
    assert world.stopped == list(world.streams)


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


def test_noop(world: World) -> None:
    """It does nothing, and is not vacuous."""
    with Noop().inject(world) as evidence:
        assert evidence.touched == 0
    assert (evidence.touched, evidence.unit) == (1, "windows")
    with pytest.raises(ValidationError, match="Extra inputs"):
        Noop.model_validate({"on": "echo"})


def test_all_of_them() -> None:
    """The faults there are, by their names in scenarios."""
    expected = "latency bandwidth timeout reset drop down slow_close slice limit_data kill pause restart panic"
    expected += " failpoint hang sleep abort exit pool_exhaustion burst noop"
    assert set(expected.split()) <= set(FAULTS.names())
