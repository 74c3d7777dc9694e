"""The TCP sockets of this machine, and the processes they belong to, as ``/proc`` tells: of the network we are in."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import pwd
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from chaoskit.base.errors import BrokenError
from chaoskit.system.pids import Pid

LISTENING = "0A"
ESTABLISHED = "01"
_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 4, 20, 0x301, 2, 3
"""Of the kernel's netlink interface."""


class Tcp(NamedTuple):
    """One socket. ``state`` is the kernel's number in hex, ``uid`` the user who made it; addresses that are IPv4
    within IPv6 are given as IPv4."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str
    uid: int
    inode: str


def tcp_sockets(pid: int | None = None, state: str = "") -> Iterator[Tcp]:
    """All of them, or those of a ``state``; with ``pid`` of the network that this process is in. Raises BrokenError
    where the system does not tell, or that process is gone."""
    folder = Path("/proc", "self" if pid is None else str(pid), "net")
    for file in (folder / "tcp", folder / "tcp6"):
        try:
            lines = file.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            if file.name == "tcp6":  # a machine without IPv6
                continue
            raise BrokenError(f"who listens on which port cannot be told: this system has no {file}") from None
        for line in lines:
            words = line.split()
            if state not in ("", words[3]):
                continue
            yield Tcp(*_place(words[1]), *_place(words[2]), words[3], int(words[7]), words[9])


class Link(NamedTuple):
    """One end of an established connection."""

    local_port: int
    remote_port: int
    inode: str


def established() -> list[Link]:
    """Both ends of all connections. Raises OSError where the kernel does not answer."""
    return [Link(local, remote, inode) for local, remote, inode, _ in _asked(ESTABLISHED)]


def listens(*urls: str) -> dict[str, list[str]]:
    """By URL, the inodes of the sockets that listen there: they tell who is asked today from whoever has the port
    tomorrow. None for what is not of this machine and network, and where the kernel does not answer."""
    try:
        found = list(_asked(LISTENING))
    except OSError:
        return {}
    places = {url: _places(url) for url in urls}
    return {url: [inode for port, _, inode, at in found if (port, _plain(at)) in places[url]] for url in urls}


def still_listens(url: str, facts: Mapping[str, Any]) -> bool:
    """Whether who listens at ``url`` is who did when ``facts["listens"]`` was asked of :func:`listens`; true where that
    is not known."""
    known = facts.get("listens")
    before = known.get(url) if isinstance(known, Mapping) else None
    return not before or not set(before).isdisjoint(listens(url).get(url, ()))


def _places(url: str) -> set[tuple[int, str]]:
    """Ports and addresses of this machine at which connections to a URL may be taken."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        addresses = ["127.0.0.1", "::1"] if host == "localhost" else [_plain(ipaddress.ip_address(host).packed)]
    except ValueError:  # a name: of another machine
        return set()
    return {(parts.port or 80, address) for address in (*addresses, "0.0.0.0", "::")}  # noqa: S104  # to be recognised


def _asked(state: str) -> Iterator[tuple[int, int, str, bytes]]:
    """Ports, inode and own address of all sockets in a state, asked of the kernel (``sock_diag(7)``), which leaves out
    what has ended.

    Quick enough for a few times a second, however many connections of a minute ago ``/proc`` still lists. Raises
    OSError where the kernel does not answer.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            asked = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, 1 << int(state, 16))
            header = struct.pack("=IHHII", 16 + len(asked), _BY_FAMILY, _REQUEST_DUMP, 0, 0)
            kernel.send(header + asked)
            more = True
            while more:
                data, at = kernel.recv(1 << 17), 0
                while at < len(data):
                    length, kind = struct.unpack_from("=IH", data, at)
                    if kind in (_ERROR, _DONE):
                        more = False
                        break
                    local, remote = struct.unpack_from(">HH", data, at + 20)
                    inode = str(struct.unpack_from("=I", data, at + 84)[0])
                    yield local, remote, inode, data[at + 24 : at + 24 + size]
                    at += (length + 3) & ~3


def inodes_of(pid: int) -> set[str]:
    """The inodes of a process's open sockets; none when it is gone. Raises PermissionError for another user's."""
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def connections_to(pids: Iterable[int], ports: Collection[int]) -> Iterator[Tcp]:
    """Each connection of these processes that leads to one of ``ports``."""
    inodes = {inode for pid in pids for inode in inodes_of(pid)}
    return (tcp for tcp in tcp_sockets() if tcp.remote_port in ports and tcp.inode in inodes)


def taken(host: str, port: int) -> bool:
    """Whether a server could not listen there because somebody does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not matter
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def held_by_another(host: str, port: int, own: Callable[[], Iterable[Pid]]) -> str:
    """Who else than the processes ``own`` answers connections to ``host`` and ``port``, in words; empty when nobody.

    Where the holder's sockets cannot be looked at, that is said: nobody knows then whose port it is.
    Raises BrokenError where the system does not tell.
    """
    while sockets := _answering(host, port):
        # Asked for after the sockets: a child that has made one was born by then.
        mine = {inode for pid in own() for inode in readable(pid.pid)}
        another = next((tcp for tcp in sockets if tcp.inode not in mine), None)
        if another is None:
            break
        if holder := _holder(another.inode):
            return f"port {port} is held by {holder}"
        if another in _answering(host, port):  # else it was closed while we looked
            whose = "a process of the user {} that cannot be looked at from here, so nobody knows whose it is"
            return f"port {port} is held by {whose.format(_user(another.uid))}"
    return ""


def _answering(host: str, port: int) -> list[Tcp]:
    """The listening sockets that the kernel chooses from: those at this very address before those at any."""
    listening = [tcp for tcp in tcp_sockets(state=LISTENING) if tcp.local_port == port]
    any_address = ("0.0.0.0", "::") if ":" not in host else ("::",)  # noqa: S104  # of others, to be recognised
    for address in (host, *any_address):
        if found := [tcp for tcp in listening if tcp.local == address]:
            return found
    return []


def _holder(inode: str) -> str:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and inode in readable(int(folder.name)):
            with contextlib.suppress(OSError):
                return f"pid {folder.name} ({(folder / 'comm').read_text(errors='replace').strip()})"
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def readable(pid: int) -> set[str]:
    """:func:`inodes_of`, none for another user's."""
    with contextlib.suppress(PermissionError):
        return inodes_of(pid)
    return set()


def _place(text: str) -> tuple[str, int]:
    """An address and a port from the kernel's hex: each word of an address stands in the machine's own order."""
    digits, _, port = text.partition(":")
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    return _plain(b"".join(words)), int(port, 16)


def _plain(packed: bytes) -> str:
    """An address as text, one that is IPv4 within IPv6 as IPv4."""
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
