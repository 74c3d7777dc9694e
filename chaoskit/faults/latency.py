"""Delay what goes through a proxy."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._fields import Millis, SomeMillis, millis
from chaoskit.faults._toxic import ToxicFault


class Latency(ToxicFault):
    """Delays data on its way, each piece from when it came; pieces on the way at the same time do not queue up.

    Rehearses a slow dependency or a long way to it: time limits per call, the deadline of the whole request, pools
    whose connections are held longer, fallbacks, breakers.

    Arguments:

    - ``on``: the service whose proxy it is set on. Making a connection is not delayed.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``delay``: how long (``800ms``), in whole milliseconds.
    - ``jitter``: delays are spread evenly over delay ± jitter; 0s unless given.
    - ``direction``: ``downstream`` (answers, the default) or ``upstream`` (requests).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` on which data was delayed.
    """

    delay: SomeMillis
    jitter: Millis = 0.0

    toxic: ClassVar[str] = "latency"

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"latency": millis(self.delay), "jitter": millis(self.jitter)}
