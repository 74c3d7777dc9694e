"""Delay the end of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from chaoskit.faults._fields import SomeMillis, millis
from chaoskit.faults._toxic import ToxicFault

if TYPE_CHECKING:
    from chaoskit.toxiproxy.facts import ToxicCounters


class SlowClose(ToxicFault):
    """Passes data as it is, and tells the end of a connection late.

    Rehearses peers that linger: sockets pile up where each is counted until it is closed on both sides.

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``delay``: how much later the end is told (``2s``), in whole milliseconds.
    - ``direction``: ``downstream`` (the service closes, its caller learns it late; the default) or ``upstream``
      (the caller closes, the service learns it late).
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` whose end was told late and is over: one whose end is
    still held back when the window closes is not counted.
    """

    delay: SomeMillis

    toxic: ClassVar[str] = "slow_close"

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"delay": millis(self.delay)}

    def touched(self, toxic: ToxicCounters, ended: int) -> int:
        """Connections that ended: those that only carried data passed unharmed."""
        return min(toxic.connections, ended)
