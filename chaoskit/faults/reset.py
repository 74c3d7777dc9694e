"""End connections with a reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from chaoskit.faults._fields import Millis, millis
from chaoskit.faults._toxic import ToxicFault

if TYPE_CHECKING:
    from chaoskit.toxiproxy.facts import ToxicCounters


class Reset(ToxicFault):
    """Resets (TCP RST) every connection some time after it has first carried data.

    Rehearses a peer that dies in mid-answer, a load balancer that drops idle connections: is a broken connection
    thrown away, is the request repeated only where that is safe?

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``after``: from the first data to the reset (``50ms``, in whole milliseconds); ``0s``, the default, resets
      at once. That first data never arrives.
    - ``direction``: of the data that sets it off: ``downstream`` (answers, the default) or ``upstream``.
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    The original Toxiproxy closes connections without RST that were open before the fault.

    Evidence counts the ``connections`` that were cut.
    """

    after: Millis = 0.0

    toxic: ClassVar[str] = "reset_peer"

    def attributes(self) -> dict[str, int]:
        """In milliseconds."""
        return {"timeout": millis(self.after)}

    def touched(self, toxic: ToxicCounters, ended: int) -> int:  # noqa: ARG002  # the base's signature
        """Connections that were cut."""
        return toxic.cut
