"""``noop``: passes everything on."""

from __future__ import annotations

from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic


class Noop(Toxic):
    """Does nothing, visibly: it can be listed, counted and removed."""

    def run(self, stub: Stub) -> Steps:
        """Pass on chunk by chunk."""
        while (chunk := (yield NEXT)) is not None:
            stub.emit(chunk)
