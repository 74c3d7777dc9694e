"""A proxy: a listening socket, an upstream, toxics, and the connections through it."""

from __future__ import annotations

import errno
import socket
from json import dumps
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaoskit.toxiproxy.server import chain
from chaoskit.toxiproxy.server.address import join, resolve, split
from chaoskit.toxiproxy.server.counters import ProxyCount, ToxicCount
from chaoskit.toxiproxy.server.installed import Installed
from chaoskit.toxiproxy.server.ledger import Ledger
from chaoskit.toxiproxy.server.link import Link
from chaoskit.toxiproxy.server.listener import listen
from chaoskit.toxiproxy.server.log import Log
from chaoskit.toxiproxy.server.reactor import READ, Reactor, Timer

if TYPE_CHECKING:
    from chaoskit.base.blast_radius import BlastRadius
    from chaoskit.toxiproxy.server.tap import TapConfig

_ACCEPTS_PER_STEP = 64


class Context:
    """What all proxies of a server share."""

    def __init__(
        self, reactor: Reactor, log: Log, ledger: Ledger, seed: int, radius: BlastRadius | None = None
    ) -> None:
        """``radius`` is where proxies may lead; None is anywhere."""
        self.reactor = reactor
        self.log = log
        self.ledger = ledger
        self.seed = seed
        self.radius = radius
        self._connections: dict[str, int] = {}

    def next_number(self, proxy: str) -> int:
        """Connections are numbered from 1, per name of a proxy (also when it is created anew)."""
        number = self._connections[proxy] = self._connections.get(proxy, 0) + 1
        return number


class Proxy:
    """See the module. ``listen`` is the address as resolved, once the proxy has been started."""

    def __init__(self, context: Context, name: str, listen: str, upstream: str) -> None:
        self.context = context
        self.reactor = context.reactor
        self.ledger = context.ledger
        self.name = name
        self.name_as_json = dumps(name)
        self.listen = listen
        self.upstream = upstream
        self.enabled = False
        self.toxics: list[Installed] = []
        self.links: dict[int, Link] = {}
        self.count = ProxyCount()
        self.tap: TapConfig | None = None
        self._listener: socket.socket | None = None
        self._pause: Timer | None = None
        self._leases: dict[str, Timer] = {}

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        order = {"upstream": 0, "downstream": 1}
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "Logger": {},
            "toxics": [t.as_dict() for t in sorted(self.toxics, key=lambda t: order[t.direction])],
        }

    # ---- up and down

    def start(self) -> None:
        """Listen. Raises ListenError. Harmless when started already."""
        if self.enabled:
            return
        self._listener = listen(self.listen)
        self.listen = join(*self._listener.getsockname()[:2])
        self.enabled = True
        self.reactor.watch(self._listener.fileno(), READ, self._accept)
        self._log_info("Started proxy")

    def stop(self) -> None:
        """Close the listener and all connections; new ones are refused."""
        if not self.enabled:
            return
        self.enabled = False
        assert self._listener is not None
        if self._pause is not None:
            self.reactor.cancel(self._pause)
        self.reactor.forget(self._listener.fileno())
        self._listener.close()
        self._listener = None
        for link in list(self.links.values()):
            link.abort("disabled")
        self._log_info("Terminated proxy")

    def differs(self, listen: str, upstream: str) -> bool:
        """Listening address (as resolved) or upstream are others. Raises AddressError.

        As in the original, all addresses count as others unless they are written as they are shown, ``[::]``.
        """
        _, host, port = resolve(listen)
        if host == "::":
            host, _ = split(listen)
        return self.listen != join(host, port) or self.upstream != upstream

    # ---- toxics

    def toxic(self, name: str) -> Installed | None:
        """The toxic of that name."""
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def install(self, installed: Installed) -> None:
        """Add a toxic at the end of its chain, on live connections too."""
        self.toxics.append(installed)
        self.count.toxics[installed.name] = installed.count = ToxicCount()
        self.lease(installed)
        for link in list(self.links.values()):
            link.take_turn(installed)
            for flow in link.flows:
                if flow.direction == installed.direction and not installed.toxic.AT_OPEN:
                    chain.install(flow, installed)

    def lease(self, installed: Installed) -> None:
        """Let the toxic remove itself when its time (``ttl``) is over, counted from now."""
        self._end_lease(installed)
        if installed.ttl is not None:
            when = monotonic() + installed.ttl / 1000
            self._leases[installed.name] = self.reactor.at(when, lambda: self.remove(installed))

    def _end_lease(self, installed: Installed) -> None:
        timer = self._leases.pop(installed.name, None)
        if timer is not None:
            self.reactor.cancel(timer)

    def toxic_changed(self, installed: Installed) -> None:
        """Its attributes or toxicity are others now."""
        for link in list(self.links.values()):
            for flow in link.flows:
                chain.update(flow, installed)

    def remove(self, installed: Installed) -> None:
        """Take a toxic away, from live connections too."""
        self._end_lease(installed)
        self.toxics.remove(installed)
        for link in list(self.links.values()):
            link.release(installed)
            for flow in link.flows:
                chain.remove(flow, installed)

    # ---- connections

    def set_tap(self, config: TapConfig | None) -> None:
        """Watch (or stop watching) the HTTP exchanges of all connections, live ones too."""
        self.tap = config
        for link in self.links.values():
            link.set_tap(config)

    def _accept(self, _events: int) -> None:
        listener = self._listener
        for _ in range(_ACCEPTS_PER_STEP):
            if listener is None or listener is not self._listener:
                return  # stopped meanwhile
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.warn("Error while accepting client", error=str(error.strerror))
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    # The waiting client would wake us again and again: look again in a moment.
                    self.reactor.forget(listener.fileno())
                    self._pause = self.reactor.at(monotonic() + 0.1, self._accept_again)
                    return
                continue
            sock.setblocking(False)
            link = Link(self, self.context.next_number(self.name), sock, join(*peer[:2]))
            self.links[link.number] = link
            for installed in self.toxics:
                link.take_turn(installed)
            self.count.opened += 1
            self._log_info("Accepted client", client=link.peer)
            link.open()

    def _accept_again(self) -> None:
        if self._listener is not None:
            self.reactor.watch(self._listener.fileno(), READ, self._accept)

    def unreachable(self, link: Link, reason: str) -> None:
        """The upstream could not be connected."""
        self.count.refused_upstream += 1
        fields = {"client": link.peer, "error": reason}
        self.context.log.error("Unable to open connection to upstream", **self._fields(), **fields)

    def link_ended(self, link: Link) -> None:
        """Both sockets of a connection are closed."""
        if self.links.pop(link.number, None) is None:
            return
        up_read, up_written, down_read, down_written = link.bytes()
        self.count.upstream.read += up_read
        self.count.upstream.written += up_written
        self.count.downstream.read += down_read
        self.count.downstream.written += down_written
        self.ledger.append(connection_line(link, monotonic()))

    # ---- log

    def warn(self, message: str, **fields: object) -> None:
        """Log something about this proxy."""
        self.context.log.warn(message, **self._fields(), **fields)

    def _log_info(self, message: str, **fields: object) -> None:
        self.context.log.info(message, **self._fields(), **fields)

    def _fields(self) -> dict[str, object]:
        return {"name": self.name, "listen": self.listen, "upstream": self.upstream}


def connection_line(link: Link, ended: float, still_open: bool = False) -> str:
    """The fields of :class:`chaoskit.history.rows.Connection`, as a line of the ledger.

    Put together by hand: one is due for each connection, and an encoder takes seven times as long. Apart from
    the proxy's name no text in it can need an escape.
    """
    _, sent, _, received = link.bytes()
    return (
        f'{{"kind":"connections","row":{{"proxy":{link.proxy.name_as_json},"conn":{link.number},'
        f'"client":"{link.peer}","opened":{link.opened!r},"ended":{ended!r},"sent":{sent},"received":{received},'
        f'"end":"{link.ended_by}","reset":{"true" if link.reset else "false"}}}'
        + (',"open":true}' if still_open else "}")
    )
