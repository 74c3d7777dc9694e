"""``reset_peer``: ends a connection with a TCP reset."""

from __future__ import annotations

from time import monotonic

from chaoskit.toxiproxy.server.toxics.base import NEXT, Steps, Stub, Toxic, sleep


class ResetPeer(Toxic):
    """Waits for the first chunk or the end of the stream, then ``timeout`` milliseconds, then sends RST.

    Better than the original: connections that were open before the toxic came are reset as well (there they
    are closed), and a connection that ``toxicity`` spares keeps its ordinary end.
    """

    ATTRIBUTES = ("timeout",)
    timeout = 0

    def run(self, stub: Stub) -> Steps:
        """Swallow one chunk, then reset. Updated or removed while it waits, it gives the chunk back."""
        chunk = yield NEXT
        fired = False
        try:
            yield sleep(monotonic() + self.timeout / 1000)
            fired = True
        finally:
            if chunk is not None and not fired:
                stub.emit(chunk)
        stub.reset()
