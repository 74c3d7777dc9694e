"""Accept connections to a service, and never answer."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.faults._fields import Share
from chaoskit.faults._toxic import ProxyFault
from chaoskit.toxiproxy.facts import Toxic


class Blackhole(ProxyFault):
    """Accepts new connections, never connects them to the service and never answers; nothing is closed.

    Rehearses the failure that only a time limit finds: a hung process whose kernel still takes connections, a
    firewall that swallows. Without a limit of their own callers wait until the window ends.

    Arguments:

    - ``on``: the service whose proxy it is set on.
    - ``connections``: on which it acts, in the order in which they come, those that are open first (``{first: 2}``,
      ``{after: 3, every: 2}``); all unless given.
    - ``established``: on connections that are open already, what clients send vanishes too; ``false`` leaves them
      alone.
    - ``share``: of the connections; 100% unless given. Rolled once per connection.

    When the window ends, the connections that were held reach the service, with what their clients have sent;
    established ones are closed, as parts of their streams are missing.

    Evidence counts the ``connections`` that were held, and the established ones on which data vanished.
    """

    established: bool = True
    share: Share = 1.0

    def toxics(self) -> Sequence[Toxic]:
        """New connections first: so none slips in between; held ones go on when what swallows is gone."""
        hold = Toxic("blackhole", {}, "downstream", self.share, own=True)
        swallow = Toxic("timeout", {"timeout": 0}, "upstream", self.share, own=True)
        return [hold, swallow] if self.established else [hold]
