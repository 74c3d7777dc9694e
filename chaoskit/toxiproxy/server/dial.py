"""Opening a connection to an upstream without waiting for it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from socket import AddressFamily
from threading import Thread

from chaoskit.base.blast_radius import BeyondError, BlastRadius
from chaoskit.toxiproxy.server.address import AddressError, literal, lookup, split
from chaoskit.toxiproxy.server.reactor import WRITE, Reactor

Target = tuple[socket.AddressFamily, str, int]
_IP_BIND_ADDRESS_NO_PORT = 24  # of linux/in.h; the socket module does not name it
_SPARE_SOURCE = ("127.0.0.2", 0)


@lru_cache(maxsize=256)
def _parse(upstream: str) -> tuple[str, int, tuple[Target, ...]]:
    """Host, port, and the addresses unless the host is a name that must be looked up. Raises AddressError."""
    host, port = split(upstream)
    host = host or "127.0.0.1"
    family = literal(host)
    if family is not None:
        return host, port, ((family, host, port),)
    return host, port, tuple(lookup(host, port)) if host == "localhost" else ()


def _inside(radius: BlastRadius, host: str, port: int) -> list[Target]:
    """The addresses of a name that may be dialled. Blocks. Raises AddressError when there is none."""
    try:
        return [(AddressFamily(family), str(where[0]), port) for family, where in radius.resolve(host, port)]
    except BeyondError as error:
        raise AddressError(str(error)) from None
    except OSError:
        raise AddressError(f"lookup {host}: no such host") from None


class Dial:
    """One attempt. Calls ``opened(socket)`` or ``failed(reason)`` once, perhaps before the constructor returns."""

    __slots__ = ("_cancelled", "_failed", "_opened", "_radius", "_reactor", "_sock", "_targets")

    def __init__(
        self,
        reactor: Reactor,
        upstream: str,
        radius: BlastRadius | None,
        opened: Callable[[socket.socket], None],
        failed: Callable[[str], None],
    ) -> None:
        """A name is dialled only where it leads to within ``radius`` (None: anywhere)."""
        self._reactor = reactor
        self._radius = radius
        self._opened = opened
        self._failed = failed
        self._targets: list[Target] = []
        self._sock: socket.socket | None = None
        self._cancelled = False
        try:
            host, port, targets = _parse(upstream)
        except AddressError as error:
            failed(f"dial tcp: {error}")
            return
        if targets:
            self._found([*targets])
        else:
            Thread(target=self._look_up, args=(host, port), daemon=True).start()

    def cancel(self) -> None:
        """Give up silently."""
        self._cancelled = True
        self._drop()

    def _look_up(self, host: str, port: int) -> None:
        """On a thread: names can take seconds."""
        try:
            targets = lookup(host, port) if self._radius is None else _inside(self._radius, host, port)
        except AddressError as error:
            reason = f"dial tcp: {error}"
            self._reactor.post(lambda: self._give_up(reason))
            return
        self._reactor.post(lambda: self._found(targets))

    def _found(self, targets: list[Target]) -> None:
        self._targets = targets
        self._try_next("no address")

    def _try_next(self, reason: str) -> None:
        if self._cancelled:
            return
        if not self._targets:
            self._give_up(reason)
            return
        family, host, port = self._targets.pop(0)
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((host, port))
        if code == errno.EADDRNOTAVAIL and host.startswith("127."):
            # All ports from our address to this one are in use or in TIME_WAIT; loopback has more addresses.
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(_SPARE_SOURCE)
            code = sock.connect_ex((host, port))
        if code == errno.EINPROGRESS:
            code = sock.connect_ex((host, port))  # on loopback the handshake is usually done by now
        self._progress(code, host, port)

    def _progress(self, code: int, host: str, port: int) -> None:
        sock = self._sock
        assert sock is not None
        if code in (errno.EALREADY, errno.EINPROGRESS):
            self._reactor.watch(
                sock.fileno(), WRITE, lambda _: self._progress(sock.connect_ex((host, port)), host, port)
            )
            return
        self._reactor.forget(sock.fileno())
        # A port nobody listens on can be chosen for our own end: then we are connected to ourselves.
        if code in (0, errno.EISCONN) and sock.getsockname()[:2] != (host, port):
            self._sock = None
            self._opened(sock)
            return
        self._drop()
        reason = os.strerror(code or errno.ECONNREFUSED).lower()
        self._try_next(f"dial tcp {host}:{port}: connect: {reason}")

    def _drop(self) -> None:
        if self._sock is not None:
            self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _give_up(self, reason: str) -> None:
        if not self._cancelled:
            self._failed(reason)
