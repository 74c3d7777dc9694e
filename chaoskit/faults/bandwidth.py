"""Narrow the way through a proxy."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from chaoskit.faults._toxic import ToxicFault
from chaoskit.language.types import Bandwidth as BytesPerSecond
from chaoskit.language.types import problem


def _kilobyte(rate: float) -> float:
    if rate < 1000:
        raise problem(f"the lowest rate is 1KB/s, is {rate:g}B/s")
    return rate


class Bandwidth(ToxicFault):
    """Lets only so many bytes per second through, on each connection for itself.

    Rehearses a crowded network and large answers on it: does one slow transfer hold a connection, a thread, the
    whole page?

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``rate``: ``100KB/s``; KB are 1000 bytes; rounded to whole KB/s, at least 1KB/s.
    - ``direction``: ``downstream`` (answers, the default) or ``upstream`` (requests).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` on which data went through the narrow place.
    """

    rate: Annotated[BytesPerSecond, AfterValidator(_kilobyte)]

    toxic: ClassVar[str] = "bandwidth"

    def attributes(self) -> dict[str, int]:
        """In KB/s."""
        return {"rate": round(self.rate / 1000)}
