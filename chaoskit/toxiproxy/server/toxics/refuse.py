"""``refuse``: nobody gets in."""

from __future__ import annotations

from chaoskit.toxiproxy.server.toxics.base import Toxic


class Refuse(Toxic):
    """Ends each new connection with RST at once. The proxy goes on listening; open connections stay."""

    AT_OPEN = "refuse"
