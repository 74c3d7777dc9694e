"""The blast radius where it counts: who may be connected to. Whoever opens a connection by what a file says asks here.

Inside are this machine's loopback, and the hosts that were named: those given to ``--chaos-allow``, and the addresses
of the run's own containers. A host that was named by its name is inside wherever that name leads, ``localhost`` only
where it leads to loopback; no other name is even looked up. What was looked at is what is connected to: a name is not
asked for again, so that it cannot lead elsewhere meanwhile.

Standard library only: the proxies' containers run this too.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

OPTION = "--chaos-allow"

Target = tuple[int, Any]
"""A family and an address of it, as a socket takes them."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_SENDING = ("socket.connect", "socket.sendto", "socket.sendmsg")


class BeyondError(PermissionError):
    """A connection to beyond the blast radius was not made. The text says where to, and how to allow it."""


class BlastRadius:
    """Loopback and ``hosts`` (names and numbers)."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self.hosts = frozenset(plain(host) for host in hosts)

    def names(self, host: str) -> bool:
        """Whether ``host`` is inside as it is written. Nothing is looked up: unknown names are outside."""
        word = plain(host)
        return word in self.hosts or word == "localhost" or word.endswith(".localhost") or self.holds(word)

    def holds(self, number: str) -> bool:
        """Whether an address is inside. A text that is no address is not."""
        ip = number_of(number)
        return ip is not None and (ip.is_loopback or ip.is_unspecified or str(ip) in self.hosts)

    def numeric(self, host: str, port: int) -> list[Target]:
        """Where a host that is written as a number is connected to, in whatever form; nothing for a name.

        Raises BeyondError.
        """
        try:
            found = look_up(host, port, socket.AI_NUMERICHOST)
        except OSError:
            return []
        return self._inside(host, found)

    def resolve(self, host: str, port: int) -> list[Target]:
        """Where a host may be connected to. Asks the resolver for a name, but not for one that is outside.

        Raises BeyondError and OSError.
        """
        if found := self.numeric(host, port):
            return found
        if not self.names(host):
            raise BeyondError(beyond(host))
        found = look_up(host, port)
        return found if plain(host) in self.hosts else self._inside(host, found)

    def _inside(self, host: str, found: list[Target]) -> list[Target]:
        inside = [each for each in found if self.holds(each[1][0])]
        if not inside:
            numbers = ", ".join(dict.fromkeys(plain(address[0]) for _, address in found))
            raise BeyondError(beyond(host, "" if numbers == plain(host) else f", which leads to {numbers},"))
        return inside

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A connection to the first address inside that answers; each gets ``timeout`` seconds. Raises OSError."""
        failure: OSError | None = None
        for family, address in self.resolve(host, port):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = failure or error
            else:
                return sock
        raise failure or OSError(f"{host} has no address")


LOOPBACK = BlastRadius()
"""Nothing else."""


def beyond(host: str, told: str = "") -> str:
    """Why ``host`` is not connected to."""
    return (
        f"{host}{told} is neither on loopback nor a service of the environment: beyond the blast radius; if that is "
        f"meant: {OPTION} {plain(host)}"
    )


def look_up(host: str, port: int, flags: int = 0) -> list[Target]:
    """All addresses of a host, as the resolver gives them. Raises OSError, for what can be no host's name too."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except ValueError as error:  # a label that is too long, a NUL
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no host's name: {error}") from None
    return [(int(family), address) for family, _, _, _, address in found]


_ODD_NUMBER = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+)){0,3}")


def plain(host: str) -> str:
    """A host as it is compared: small letters, no brackets, no dot at the end; a number in its usual form, as what is
    connected to is looked up (``134744072`` and ``0x8.8.8`` are 8.8.8.8)."""
    word = host.strip().strip("[]").lower().rstrip(".")
    ip = number_of(word)
    if ip is None and word[:1].isdigit() and _ODD_NUMBER.fullmatch(word):
        with contextlib.suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(word))
    return word if ip is None else str(ip)


def number_of(text: str) -> Any:
    """The ``ipaddress`` that a text is, None for none. An IPv4 address within an IPv6 one is that IPv4 address."""
    import ipaddress  # lazy: a proxy that may lead anywhere starts without it

    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def enforce(radius: Callable[[], BlastRadius], refused: Callable[[BeyondError], None]) -> None:
    """From now on, and for good, nothing in this process connects or sends to beyond ``radius()``.

    For code of others that opens its own connections. They are seen where Python opens them, not where a library in C
    does. ``refused`` is told, and the connection fails with the same BeyondError.
    """
    led: dict[str, set[str]] = {}

    def named(within: BlastRadius, number: str) -> bool:
        """Whether a host that is inside by its name leads there: whoever connects has looked it up already."""
        for name in within.hosts:
            if number not in led.get(name, ()):
                with contextlib.suppress(OSError):
                    led[name] = {plain(address[0]) for _, address in look_up(name, 0)}
            if number in led.get(name, ()):
                return True
        return False

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event not in _SENDING or given[1] is None or given[0].family not in _INTERNET:
            return
        within, (host, port, *_) = radius(), given[1]
        try:
            if within.holds(host) or (number_of(host) is not None and named(within, plain(host))):
                return
            within.resolve(host, port)
        except BeyondError as error:
            refused(error)
            raise

    sys.addaudithook(look)
