"""The listening socket of a proxy."""

from __future__ import annotations

import os
import socket
from random import Random

from chaoskit.toxiproxy.server.address import AddressError, join, resolve, split

_LOWEST_PORT = 15_000


class ListenError(Exception):
    """The listening address cannot be had; the text is Go's."""


def listen(address: str) -> socket.socket:
    """A listening socket. Raises ListenError."""
    try:
        family, host, port = resolve(address)
        named, _ = split(address)
    except AddressError as error:
        raise ListenError(f"listen tcp: {error}") from None
    candidates = _free_ports() if port == 0 else [port]
    for candidate in candidates:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what it accepts
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            sock.bind((host, candidate))
            sock.listen(4096)
        except OSError as error:
            sock.close()
            failure = error
            continue
        return sock
    reason = os.strerror(failure.errno or 0).lower()
    told = {"": "", "0.0.0.0": "0.0.0.0", "::": "0.0.0.0"}.get(named, host)  # noqa: S104 - as the original tells it
    raise ListenError(f"listen tcp {join(told, port)}: bind: {reason}")


def _free_ports() -> list[int]:
    """Ports to try for port 0: below the range the kernel gives to outgoing connections, then its own choice.

    While a proxy is disabled, an outgoing connection could take its port, and it could not come back.
    """
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:  # noqa: PTH123 - pathlib costs start-up time
            lowest = int(file.read().split()[0])
    except (OSError, ValueError):
        return [0]
    if lowest <= _LOWEST_PORT:
        return [0]
    # Several servers start at the same time: each tries elsewhere.
    random = Random()  # noqa: S311 - chance, not secrecy
    return [*(random.randrange(_LOWEST_PORT, lowest) for _ in range(20)), 0]
