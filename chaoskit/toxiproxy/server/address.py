"""Addresses as Go writes them: ``host:port``, ``[v6]:port``, ``:port``."""

from __future__ import annotations

import functools
import socket


class AddressError(ValueError):
    """The text says what is wrong, in Go's words."""


def split(address: str) -> tuple[str, int]:
    """Host (may be empty) and port (may be 0). An empty address is the empty host and port 0."""
    if not address:
        return "", 0
    host, colon, port_text = address.rpartition(":")
    if not colon or address.endswith("]"):
        raise AddressError(f"address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"address {address}: too many colons in address")
    if not port_text:
        return host, 0
    if port_text.isascii() and port_text.isdigit():
        port = int(port_text)
        if port > 65535:
            raise AddressError(f"address {port_text}: invalid port")
        return host, port
    try:
        return host, socket.getservbyname(port_text, "tcp")
    except OSError:
        raise AddressError(f"lookup tcp/{port_text}: unknown port") from None


def join(host: str, port: int) -> str:
    """The text of a socket's address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def literal(host: str) -> socket.AddressFamily | None:
    """The family of a host that is written as a number; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family
    return None


def resolve(address: str) -> tuple[socket.AddressFamily, str, int]:
    """Family, number and port to listen on; IPv4 is preferred. Looks names up, which may block.

    All addresses of IPv4, as no host at all, are all of both families: so it is in Go. Raises AddressError.
    """
    host, port = split(address)
    if host in ("", "0.0.0.0"):  # noqa: S104
        return (socket.AF_INET6, "::", port) if _speaks_ipv6() else (socket.AF_INET, "0.0.0.0", port)  # noqa: S104
    family = literal(host)
    if family is not None:
        return family, host, port
    found = lookup(host, port)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return found[0]


@functools.cache
def _speaks_ipv6() -> bool:
    """Whether the kernel does; ``socket.has_ipv6`` tells of Python only."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def lookup(host: str, port: int) -> list[tuple[socket.AddressFamily, str, int]]:
    """All addresses of a name. Blocks. Raises AddressError when there are none."""
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1", port), (socket.AF_INET6, "::1", port)]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise AddressError(f"lookup {host}: no such host") from None
    return [(family, str(where[0]), port) for family, _, _, _, where in found]
