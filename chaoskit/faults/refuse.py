"""Refuse connections to a service."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.faults._fields import Share
from chaoskit.faults._toxic import ProxyFault
from chaoskit.toxiproxy.facts import Toxic


class Refuse(ProxyFault):
    """Resets (TCP RST) each new connection at once; the service never hears of it.

    Rehearses a server whose queue of connections is full, or a process that is gone while its address lives on:
    callers are told at once, and each attempt counts. ``down`` takes the listener away altogether, and cannot spare
    anybody.

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``established``: connections that are open already are reset when their client next sends something; ``false``
      leaves them alone.
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    Evidence counts the ``connections`` that were refused or reset.
    """

    established: bool = True
    share: Share = 1.0

    def toxics(self) -> Sequence[Toxic]:
        """New connections first: so none slips in between and counts as an open one."""
        refuse = Toxic("refuse", {}, "downstream", self.share, own=True)
        reset = Toxic("reset_peer", {"timeout": 0}, "upstream", self.share, own=True)
        return [refuse, reset] if self.established else [refuse]
