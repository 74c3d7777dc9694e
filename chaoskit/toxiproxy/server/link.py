"""One client connection through a proxy."""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING

from chaoskit.toxiproxy.server import chain
from chaoskit.toxiproxy.server.dial import Dial
from chaoskit.toxiproxy.server.endpoint import LINGER_ZERO, Endpoint
from chaoskit.toxiproxy.server.flow import Flow
from chaoskit.toxiproxy.server.reactor import EDGE, HANG_UP, READ

if TYPE_CHECKING:
    from chaoskit.toxiproxy.server.installed import Installed
    from chaoskit.toxiproxy.server.proxy import Proxy
    from chaoskit.toxiproxy.server.tap import Tap, TapConfig, Unanswered

Bytes = bytes  # a method of that name hides it
_NONE: frozenset[Installed] = frozenset()
_PEEKED = 65536
"""Bytes that are looked at of what a client sends on a connection that is held."""


class Link:
    """From the accepted client to the last closed socket.

    No half-close, as in Toxiproxy: the end of either side, once it has come through the toxics, closes the
    other, and the end of that goes back through the toxics of the other direction.
    """

    __slots__ = (
        "_closed",
        "_dial",
        "_flows",
        "_holder",
        "_reset_by_peer",
        "_unanswered",
        "client",
        "ended_by",
        "number",
        "opened",
        "peer",
        "proxy",
        "reset",
        "spared",
        "tap",
        "upstream",
    )

    def __init__(self, proxy: Proxy, number: int, sock: socket.socket, peer: str) -> None:
        self.proxy = proxy
        self.number = number
        self.peer = peer
        self.opened = monotonic()
        self.ended_by = ""
        self.reset = False
        self._reset_by_peer = False
        self._unanswered: Unanswered | None = None
        self.tap: Tap | None = None
        self.spared: frozenset[Installed] = _NONE
        self.client = Endpoint(self, "client", sock)
        self.upstream: Endpoint | None = None
        self._flows: tuple[Flow, Flow] | tuple[()] = ()
        self._closed = 0
        self._dial: Dial | None = None
        self._holder: Installed | None = None

    def open(self) -> None:
        """Let it in, or do what a toxic on new connections wants."""
        for installed in self.proxy.toxics:
            if installed.toxic.AT_OPEN and installed not in self.spared and installed.hits(self.number):
                installed.count.connections += 1
                if installed.toxic.AT_OPEN == "refuse":
                    installed.count.cut += 1
                    self.abort("toxic", reset=True)
                else:
                    self._hold(installed)
                return
        self.dial()

    def _hold(self, installed: Installed) -> None:
        """Let nothing happen on the connection; with a tap, look at what the client sends and leave it where it is."""
        self._holder = installed
        config = self.proxy.tap
        if config is not None:
            self.set_tap(config)
        # Told once of what has come: it stays there, so the reactor would be told of it again and again.
        events = HANG_UP if config is None else HANG_UP | READ | EDGE
        self.proxy.reactor.watch(self.client.fd, events, self._held)

    def _held(self, events: int) -> None:
        if self.tap is not None:
            try:
                data = self.client.sock.recv(_PEEKED, socket.MSG_PEEK)
            except OSError:
                data = b""  # nothing has come, or it was reset
            if data:
                self.tap.peeked(memoryview(data), monotonic())
        if events & ~(READ | EDGE):
            self.abort("client")

    def client_left(self) -> None:
        """The client sends no more, and waits no longer: that is not for toxics to delay."""
        if self.tap is not None:
            self.tap.connection_ended(clean=False, reset=self.reset)

    def release(self, installed: Installed) -> None:
        """A toxic is gone: if it held the connection, the others decide."""
        if self._holder is installed:
            self._holder = None
            self.proxy.reactor.forget(self.client.fd)
            self.open()

    def dial(self) -> None:
        """Connect to the upstream; until then nothing is read from the client."""
        self._dial = Dial(
            self.proxy.reactor, self.proxy.upstream, self.proxy.context.radius, self._connected, self._unreachable
        )

    @property
    def flows(self) -> tuple[Flow, Flow] | tuple[()]:
        """Upstream and downstream; nothing before the upstream is connected."""
        return self._flows

    def bytes(self) -> tuple[int, int, int, int]:
        """Read from and written to: client read, upstream written, upstream read, client written."""
        if not self._flows:
            return 0, 0, 0, 0
        up, down = self._flows
        return up.read, up.written, down.read, down.written

    def take_turn(self, installed: Installed) -> None:
        """Count the connection for a toxic; by its conditions it may be spared."""
        if not installed.conditions.next():
            self.spared |= {installed}

    def set_tap(self, config: TapConfig | None) -> None:
        """Watch the connection's HTTP exchanges, or stop watching."""
        if config is None:
            self.tap = None
        elif self.tap is not None:
            self.tap.config = config
        else:
            from chaoskit.toxiproxy.server.tap import Tap  # most servers never tap

            self.tap = Tap(self, config)
        self._spy()

    def watch_answers(self) -> None:
        """A toxic that answers requests has come: from now on know which are unanswered."""
        if self._unanswered is None:
            from chaoskit.toxiproxy.server.tap import Unanswered

            self._unanswered = Unanswered(self)
            self._spy()

    def answer(self, data: Bytes) -> bool:
        """Send an HTTP answer as if the upstream had; False while it owes earlier ones."""
        if self._unanswered is not None and self._unanswered.waiting:
            return False
        if self._flows:
            self._flows[1].inject(data)
        return True

    def _spy(self) -> None:
        if self._flows:
            up, down = self._flows
            seen, owed = self.tap, self._unanswered
            up.spy(seen.request_bytes if seen else None, owed.request_bytes if owed else None)
            down.spy(owed.answer_bytes if owed else None, seen.answer_bytes if seen else None)

    def abort(self, ended_by: str, reset: bool = False) -> None:
        """Close both sides now; with ``reset`` both see RST. What is under way is lost."""
        self.blame(ended_by)
        self.reset = self.reset or reset
        if self._dial is not None:
            self._dial.cancel()
        for flow in self._flows:
            flow.target_closed()
        if self.upstream is None:
            self._close_unconnected(reset)
        else:
            self.client.close(reset)
            self.upstream.close(reset)

    def blame(self, ended_by: str, reset: bool = False) -> None:
        """Note who ended the connection, and whether by RST: the first to be named is it."""
        if self.ended_by:
            return
        self.ended_by = ended_by
        self._reset_by_peer = reset
        if ended_by == "upstream":
            self.proxy.count.ended_upstream += 1
            self.proxy.count.reset_upstream += reset

    def close_after(self, endpoint: Endpoint) -> None:
        """The other side has ended, and all it sent is written: close this one, the same way when mirroring."""
        if self._reset_by_peer and self._mirrors() and not endpoint.closed:
            self.reset = True
            endpoint.close(reset=True)
        else:
            endpoint.close()

    def _mirrors(self) -> bool:
        return self.proxy.tap is not None and self.proxy.tap.mirror

    def warn(self, message: str, error: OSError, size: int) -> None:
        """Log what went wrong on the connection."""
        self.proxy.warn(message, client=self.peer, error=(error.strerror or str(error)).lower(), bytes=size)

    def endpoint_closed(self, endpoint: Endpoint) -> None:
        """One of the two sockets is closed."""
        self._closed += 1
        if endpoint is self.client and self.tap is not None:
            clean = self.ended_by == "upstream" and not self.reset
            self.tap.connection_ended(clean=clean, reset=self.reset)
        if self._closed == 2:
            self.proxy.link_ended(self)

    def _connected(self, sock: socket.socket) -> None:
        self._dial = None
        proxy = self.proxy
        upstream = self.upstream = Endpoint(self, "upstream", sock)
        client = self.client
        up = client.inbound = upstream.outbound = Flow(self, "upstream", client, upstream)
        down = upstream.inbound = client.outbound = Flow(self, "downstream", upstream, client)
        self._flows = (up, down)
        for installed in proxy.toxics:
            if not installed.toxic.AT_OPEN:
                chain.install(up if installed.direction == "upstream" else down, installed)
        if proxy.tap is not None:
            self.set_tap(proxy.tap)
        up.refresh()
        down.refresh()

    def _unreachable(self, reason: str) -> None:
        self._dial = None
        self.blame("unreachable")
        self.proxy.unreachable(self, reason)
        self.reset = self._mirrors()
        self._close_unconnected(self.reset)

    def _close_unconnected(self, reset: bool) -> None:
        """The client sees the end of the stream (unread data would turn that into a reset), or a reset."""
        if self.tap is not None:
            self.tap.connection_ended(clean=False, reset=reset)
        sock = self.client.sock
        self.proxy.reactor.forget(self.client.fd)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass  # nothing (more) to read
        self.client.closed = True
        sock.close()
        self.proxy.link_ended(self)
