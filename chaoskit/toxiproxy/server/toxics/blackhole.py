"""``blackhole``: connections that lead nowhere."""

from __future__ import annotations

from chaoskit.toxiproxy.server.toxics.base import Toxic


class Blackhole(Toxic):
    """Accepts new connections, never connects them to the upstream and never answers; open connections stay.

    When it is removed, the connections it held go on to the upstream, with what their clients have sent.
    """

    AT_OPEN = "hold"
