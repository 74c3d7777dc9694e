"""What ``toxiproxy_load.c`` does, with the same command line, where there is no C compiler.

It takes as much processor time as the proxy, so rates and times come out worse for all, and ratios nearer to 1.
"""

from __future__ import annotations

import select
import socket
import sys
import time

TRIP = 64
_BUFFER = bytearray(256 * 1024)


def serve() -> None:
    """The upstream."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    view = memoryview(_BUFFER)
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
                if size and _BUFFER[0] != ord("s"):
                    sock.send(view[:size])
            except OSError:
                size = 0
            if not size:
                del socks[fd]
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


def flood(port: int, count: int, seconds: float) -> list[int]:
    """Bytes sent by each connection."""
    poll = select.epoll()
    socks = {sock.fileno(): sock for sock in (opened(port) for _ in range(count))}
    for fd, sock in socks.items():
        sock.setblocking(False)
        poll.register(fd, select.EPOLLOUT)
    sent = dict.fromkeys(socks, 0)
    data = b"s" * len(_BUFFER)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for fd, _ in poll.poll(0.001):
            try:
                sent[fd] += socks[fd].send(data)
            except BlockingIOError:
                continue
    return [*sent.values()]


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
    """Run one of them and print its numbers."""
    if what == "peer":
        serve()
    found = {
        "flood": lambda: flood(port, count, seconds),
        "trips": lambda: trips(port, count, seconds, every),
        "connect": lambda: connects(port, count, seconds),
        "hold": lambda: hold(port, count),
    }[what]()
    print(*found, sep="\n")


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    main(what, *map(int, numbers[:2]), *map(float, numbers[2:]))
