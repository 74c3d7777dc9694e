"""Whose socket answers at an address: of the service's own processes, or of somebody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chaoskit.system.pids import Pid, identify
from chaoskit.system.ports import free_port
from chaoskit.system.sockets import (
    ESTABLISHED,
    Link,
    connections_to,
    established,
    held_by_another,
    inodes_of,
    listens,
    still_listens,
    taken,
    tcp_sockets,
)

LISTEN = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.socket(family)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(sys.argv[3]))
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[4]))
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(address: str, port: int, *, shared: bool = False, only_v6: bool = False) -> Iterator[Pid]:
    """Another process that listens."""
    words = [sys.executable, "-c", LISTEN, address, str(port), str(int(shared)), str(int(only_v6))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"listening\n"
        found = identify(child.pid)
        assert found is not None
        yield found
        child.stdin.close()


@pytest.mark.parametrize(
    ("address", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"), ("::", "::1"),
     ("::ffff:127.0.0.1", "127.0.0.1")],
)  # fmt: skip
def test_a_holder_is_found_whatever_it_listens_on(address: str, host: str) -> None:
    """IPv4, IPv6, any address, and IPv4 within IPv6: told with pid and name, unless it is one of our own."""
    port = free_port()
    with listening(address, port) as holder:
        name = f"pid {holder.pid} (python"
        assert held_by_another(host, port, list).startswith(f"port {port} is held by {name}")
        assert held_by_another(host, port, lambda: [holder]) == ""
        assert taken(host, port)
    assert held_by_another(host, port, list) == ""
    assert not taken(host, port)


def test_another_address_of_the_same_port_is_no_matter() -> None:
    """A listener at 127.0.0.2, or at IPv6 alone, answers nobody who asks for 127.0.0.1."""
    port = free_port()
    with listening("127.0.0.2", port), listening("::", port, only_v6=True):
        assert not taken("127.0.0.1", port)
        with listening("127.0.0.1", port) as own:
            assert held_by_another("127.0.0.1", port, lambda: [own]) == ""


def test_a_port_that_is_shared_is_not_ours_alone() -> None:
    """With SO_REUSEPORT the kernel hands connections to either of two processes."""
    port = free_port()
    with listening("127.0.0.1", port, shared=True) as own, listening("127.0.0.1", port, shared=True) as other:
        assert f"held by pid {other.pid} " in held_by_another("127.0.0.1", port, lambda: [own])
        assert held_by_another("127.0.0.1", port, lambda: [own, other]) == ""


def test_ended_connections_do_not_take_a_port() -> None:
    """Those in TIME_WAIT stay for a minute: a restarted server does not mind them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # who closes first keeps the rest
    assert any(tcp.local_port == port for tcp in tcp_sockets())
    assert not taken("127.0.0.1", port)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become another user")
def test_what_cannot_be_looked_at_is_said() -> None:
    """Another user's process: neither ours nor somebody else's by a guess."""
    port = free_port()
    with listening("127.0.0.1", port) as holder:
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                os.setuid(65534)
                os.write(write, held_by_another("127.0.0.1", port, lambda: [holder]).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as told:
            text = told.read()
        os.wait()
    assert text == (
        f"port {port} is held by a process of the user root that cannot be looked at from here, so nobody knows whose "
        "it is"
    )


def test_connections_of_a_process() -> None:
    """Both ends of one are found by their ports."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            (found,) = connections_to([os.getpid()], [port])
            assert (found.local_port, found.remote_port) == (client.getsockname()[1], port)
            assert found.inode in inodes_of(os.getpid())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_established_connections(host: str) -> None:
    """Both ends are there while it stands, as the kernel says and as /proc has it; one that has ended is not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_connection((host, port)) as client, server.accept()[0] as accepted:
            local, inodes = client.getsockname()[1], [str(os.fstat(end.fileno()).st_ino) for end in (client, accepted)]
            found = [link for link in established() if link.inode in inodes]
            assert sorted(found) == sorted([Link(local, port, inodes[0]), Link(port, local, inodes[1])])
            assert {link.inode for link in found} <= {tcp.inode for tcp in tcp_sockets() if tcp.state == ESTABLISHED}
        assert not any(link.inode in inodes for link in established())


@pytest.mark.parametrize(("host", "listen"), [("127.0.0.1", "127.0.0.1"), ("localhost", ""), ("[::1]", "::1")])
def test_who_listens_is_known_again(host: str, listen: str) -> None:
    """By the socket: whoever takes the port later is somebody else, and of another machine nothing is known."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.create_server((listen, 0), family=family) as server:
        port = server.getsockname()[1]
        url = f"http://{host}:{port}/x"
        facts = {"listens": listens(url)}
        assert facts["listens"] == {url: [str(os.fstat(server.fileno()).st_ino)]}
        assert still_listens(url, facts)
        assert still_listens("http://127.0.0.1:1", facts), "nothing is known of it"
    assert not still_listens(url, facts), "nobody is not he"
    with socket.create_server((listen, port), family=family):
        assert not still_listens(url, facts)
        assert still_listens(url, {}), "an entry of an older version"
    assert listens("http://elsewhere.example:80") == {"http://elsewhere.example:80": []}
