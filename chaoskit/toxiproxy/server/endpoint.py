"""One side of a connection: a socket and what is wanted from it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Literal

from chaoskit.toxiproxy.server.reactor import READ, WRITE, Reactor

if TYPE_CHECKING:
    from chaoskit.toxiproxy.server.flow import Flow
    from chaoskit.toxiproxy.server.link import Link

LINGER_ZERO = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST."""


class Endpoint:
    """The ``client`` or the ``upstream`` of a link."""

    __slots__ = (
        "_mask",
        "_reactor",
        "_reading",
        "_writing",
        "closed",
        "fd",
        "inbound",
        "link",
        "name",
        "outbound",
        "sock",
    )

    inbound: Flow
    """Reads from this socket."""
    outbound: Flow
    """Writes to this socket."""

    def __init__(self, link: Link, name: Literal["client", "upstream"], sock: socket.socket) -> None:
        self.link = link
        self._reactor: Reactor = link.proxy.reactor
        self.name = name
        self.sock = sock
        self.fd = sock.fileno()
        self.closed = False
        self._reading = False
        self._writing = False
        self._mask = 0

    def want_read(self, wanted: bool) -> None:
        """Call the inbound flow when there is something to read."""
        if wanted != self._reading and not self.closed:
            self.refresh(wanted)

    def want_write(self, wanted: bool) -> None:
        """Call the outbound flow when there is room."""
        if wanted != self._writing and not self.closed:
            self._writing = wanted
            self.refresh(self._reading)

    def refresh(self, reading: bool) -> None:
        """Tell the reactor what is wanted, and the inbound flow's handler as it is now."""
        self._reading = reading
        mask = (READ if reading else 0) | (WRITE if self._writing else 0)
        callback = self.inbound.handler if mask == READ else self._both
        if mask == self._mask:
            if mask:
                self._reactor.call_with(self.fd, callback)
        elif mask:
            self._reactor.watch(self.fd, mask, callback)
        else:
            # Not merely "no events": epoll would report a hang-up again and again.
            self._reactor.forget(self.fd)
        self._mask = mask

    def _both(self, events: int) -> None:
        if self._writing and events & ~READ:
            self.outbound.drain()
        if self._reading and not self.closed and events & ~WRITE:
            self.inbound.handler(events)

    def close(self, reset: bool = False) -> None:
        """Close: FIN, or RST when ``reset``. The flows of both directions are told."""
        if self.closed:
            return
        self.closed = True
        self._reactor.closing(self.fd)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.sock.close()
        self.link.endpoint_closed(self)
        # This often closes the other side too, which then need not be told to read no more.
        self.inbound.source_ended()
        self.outbound.target_closed()
