"""What ``toxiproxy_load.c`` does, with the same command line, where there is no C compiler.

It takes as much processor time as the proxy, so rates and times come out worse for all, and ratios nearer to 1.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

TRIP = 64
_BUFFER = bytearray(256 * 1024)
# How each connection of a flood begins, and the question for its bytes: "s" or "q", and which flood.
_GREETING = struct.Struct("=8sq")


def serve() -> None:
    """The upstream."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    view = memoryview(_BUFFER)
    swallowed: dict[int, list[int]] = {}  # by descriptor: which flood, how many bytes
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            sock = socks[fd]
            try:
                size = sock.recv_into(_BUFFER)
                if fd in swallowed:
                    swallowed[fd][1] += size
                elif size and _BUFFER[0] == ord("s"):
                    swallowed[fd] = [_GREETING.unpack_from(_BUFFER)[1], size]
                elif size and _BUFFER[0] == ord("q"):
                    asked = _GREETING.unpack_from(_BUFFER)[1]
                    found = [count for run, count in swallowed.values() if run == asked]
                    sock.sendall(struct.pack(f"={1 + len(found)}q", len(found), *found))
                else:
                    sock.send(view[:size])
            except OSError:
                size = 0
            if not size:
                del socks[fd]
                swallowed.pop(fd, None)
                sock.close()


def opened(port: int) -> socket.socket:
    """A connection."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def trip(sock: socket.socket) -> int:
    """Nanoseconds of a round trip."""
    began = time.monotonic_ns()
    sock.sendall(b"e" * TRIP)
    assert sock.recv(TRIP, socket.MSG_WAITALL), "the connection was closed"
    return time.monotonic_ns() - began


def ask(peer: socket.socket) -> list[int]:
    """What the peer has swallowed on each connection of this flood that is still open."""
    peer.sendall(_GREETING.pack(b"q", os.getpid()))
    (count,) = struct.unpack("=q", peer.recv(8, socket.MSG_WAITALL))
    return [*struct.unpack(f"={count}q", peer.recv(8 * count, socket.MSG_WAITALL))] if count else []


def flood(port: int, count: int, seconds: float, peer_port: int) -> list[int]:
    """Bytes of each connection: what had arrived at the peer in time, then what was sent in all."""
    peer = opened(peer_port)
    poll = select.epoll()
    socks = {sock.fileno(): sock for sock in (opened(port) for _ in range(count))}
    for fd, sock in socks.items():
        sock.setblocking(False)
        poll.register(fd, select.EPOLLOUT)
    sent = dict.fromkeys(socks, 0)
    data = _GREETING.pack(b"s", os.getpid()).ljust(len(_BUFFER), b"s")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for fd, _ in poll.poll(0.001):
            try:
                sent[fd] += socks[fd].send(data)
            except BlockingIOError:
                continue
    arrived = ask(peer)
    for sock in socks.values():
        sock.close()
    until = time.monotonic() + 10
    while ask(peer) and time.monotonic() < until:
        time.sleep(0.002)
    return [*arrived, *[0] * (count - len(arrived)), *sent.values()]


def trips(port: int, count: int, seconds: float, every: float) -> list[int]:
    """Nanoseconds of each round trip."""
    poll = select.epoll()
    socks = [opened(port) for _ in range(count)]
    by_fd = {sock.fileno(): sock for sock in socks}
    for sock in socks:
        trip(sock)
        poll.register(sock, select.EPOLLIN)
    start = time.monotonic_ns()
    due = [start + int(every * 1e9 * turn / count) for turn in range(count)]
    began = dict.fromkeys(by_fd, 0)
    took: list[int] = []
    turn = 0
    while (now := time.monotonic_ns()) < start + seconds * 1e9:
        while due[turn] <= now and not began[socks[turn].fileno()]:
            due[turn] += int(every * 1e9)
            began[socks[turn].fileno()] = time.monotonic_ns()
            socks[turn].send(b"e" * TRIP)
            turn = (turn + 1) % count
        rest = (due[turn] - now) / 1e9 if every else 0.001
        if 0 < rest < 0.001:  # epoll counts in milliseconds
            select.select([poll], [], [], rest)
            rest = 0
        for fd, _ in poll.poll(max(0.0, min(rest, 0.001))):
            assert by_fd[fd].recv(TRIP), "the connection was closed"
            now = time.monotonic_ns()
            took.append(now - began[fd])
            began[fd] = 0
            if not every:
                began[fd] = now
                by_fd[fd].send(b"e" * TRIP)
    return took


def connects(port: int, _count: int, seconds: float) -> list[int]:
    """Nanoseconds of each: connect, one round trip. One after the other."""
    took = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic_ns()
        with opened(port) as sock:
            trip(sock)
            took.append(time.monotonic_ns() - began)
    return took


def hold(port: int, count: int) -> list[int]:
    """How many could be opened, one round trip on each; and how many answer once more when stdin has ended."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    socks = [opened(port) for _ in range(count)]
    print(sum(trip(sock) > 0 for sock in socks), flush=True)
    sys.stdin.read()
    return [sum(trip(sock) > 0 for sock in socks)]


def main(what: str, port: int = 0, count: int = 0, seconds: float = 0, every: float = 0) -> None:
    """Run one of them and print its numbers. For a flood ``every`` is the peer's port."""
    if what == "peer":
        serve()
    found = {
        "flood": lambda: flood(port, count, seconds, int(every)),
        "trips": lambda: trips(port, count, seconds, every),
        "connect": lambda: connects(port, count, seconds),
        "hold": lambda: hold(port, count),
    }[what]()
    print(*found, sep="\n")


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    main(what, *map(int, numbers[:2]), *map(float, numbers[2:]))
