"""Lose a share of the connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from chaoskit.faults._fields import Share
from chaoskit.faults._toxic import ToxicFault

if TYPE_CHECKING:
    from chaoskit.toxiproxy.facts import ToxicCounters


class Drop(ToxicFault):
    """Cuts a share of the connections with a reset (TCP RST) as soon as data flows on them; spares the others.

    Rehearses a flaky network or one bad instance behind a balancer: retries with back-off make up for it, and a
    breaker opens only above its ratio.

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``share``: of the connections (``10%``). Rolled once per connection: one that was spared stays so, so clients
      that keep connections see fewer errors the longer it lasts.
    - ``direction``: of the data that sets it off: ``downstream`` (answers, the default: the request may have had
      its effect) or ``upstream`` (the request never arrives).

    Evidence counts the ``connections`` that were cut.
    """

    share: Share

    toxic: ClassVar[str] = "reset_peer"

    def attributes(self) -> dict[str, int]:
        """At once."""
        return {"timeout": 0}

    def touched(self, toxic: ToxicCounters, ended: int) -> int:  # noqa: ARG002  # the base's signature
        """Connections that were cut."""
        return toxic.cut
