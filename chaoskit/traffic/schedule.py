"""When requests are due: a pure function of the stream, its rate and a seed.

Both kinds of arrival are drawn in operational time, where the rate is one request per unit (constant: 0, 1,
2 ...; Poisson: sums of exponential gaps), and then mapped to seconds through the inverse of the rate's
integral. A ramp needs nothing further, and times never drift because none is computed from the one before.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from chaoskit.traffic.spec import Arrival, Stream


def due_times(stream: Stream, own_rate: float, own_arrival: Arrival, rng: random.Random) -> Iterator[float]:
    """Monotonic times at which ``stream`` wants requests sent, ascending; may be endless.

    ``own_rate`` and ``own_arrival`` are the operation's, used where the stream leaves them open.
    Raises ValueError when neither gives a rate and there is no count.
    """
    if stream.rate is None and stream.rate_to is None and stream.count is not None:
        return iter([stream.start] * stream.count)
    rate = own_rate if stream.rate is None else stream.rate
    if rate == 0 and stream.rate is None and stream.rate_to is None:
        raise ValueError(f"stream {stream.id!r}: operation {stream.op!r} has no rate, so give a rate or a count")
    return _paced(stream, rate, stream.arrival or own_arrival, rng)


def _paced(stream: Stream, rate: float, arrival: Arrival, rng: random.Random) -> Iterator[float]:
    slope = 0.0
    if stream.rate_to is not None and stream.until is not None:
        slope = (stream.rate_to - rate) / (stream.until - stream.start)
    position = rng.expovariate(1.0) if arrival == "poisson" else 0.0
    made = 0
    while stream.count is None or made < stream.count:
        offset = _seconds(position, rate, slope)
        if offset is None or (stream.until is not None and stream.start + offset >= stream.until):
            return
        yield stream.start + offset
        made += 1
        position += rng.expovariate(1.0) if arrival == "poisson" else 1.0


def _seconds(position: float, rate: float, slope: float) -> float | None:
    """The time at which ``rate·t + slope·t²/2`` reaches ``position``; None when it never does."""
    if position == 0.0:
        # A ramp that starts at rate 0 has nothing due in its first instant, but one request begins it.
        return 0.0 if rate > 0 or slope > 0 else None
    root = rate * rate + 2 * slope * position
    # The rate has fallen to zero before this request was due.
    if root < 0 or rate + math.sqrt(root) == 0:
        return None
    # This form of the quadratic's solution also holds for slope 0 and loses no digits near it.
    return 2 * position / (rate + math.sqrt(root))
