"""How fast is the embedded Toxiproxy? ``python benchmarks/toxiproxy_speed.py`` prints a table (20 s).

Compared with a direct connection and, when ``toxiproxy-server`` is on PATH, with the original in the same run.
Figures of a busy machine swing: compare within a run, and look at the processor time that the proxy spent for
a gigabyte, a round trip, a connection (second line of each server), which depends less on the neighbours. The
best of three rounds is shown; the rounds of all take turns.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from chaoskit.toxiproxy.launch import address_in, server_command

SECONDS = 0.4
ROUNDS = 3
LATENCY = 0.010
_RST = struct.pack("ii", 1, 0)  # no TIME_WAIT: thousands of connections a second would run out of ports

Address = tuple[str, int]


def peer() -> None:
    """The upstream, in a process of its own: what begins with ``s`` is swallowed, anything else comes back."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    buffer = bytearray(256 * 1024)
    view = memoryview(buffer)
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
                size = sock.recv_into(buffer)
                if size and buffer[0] != ord("s"):
                    sock.send(view[:size])
            except OSError:
                size = 0
            if not size:
                poll.unregister(fd)
                del socks[fd]
                sock.close()


def connected(address: Address, count: int) -> list[socket.socket]:
    """``count`` connections, each proven to work."""
    socks = [socket.create_connection(address, timeout=10) for _ in range(count)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"e")
        assert sock.recv(1) == b"e"
    return socks


def close(socks: list[socket.socket]) -> None:
    """End connections without TIME_WAIT."""
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        sock.close()


def throughput(address: Address, count: int) -> float:
    """MB/s from us to the peer."""
    socks = connected(address, count)
    poll = select.epoll()
    by_fd = {}
    for sock in socks:
        sock.setblocking(False)
        poll.register(sock, select.EPOLLOUT)
        by_fd[sock.fileno()] = sock
    data = b"s" * (256 * 1024)
    sent = 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        for fd, _ in poll.poll(1):
            try:
                sent += by_fd[fd].send(data)
            except BlockingIOError:
                continue
    took = time.monotonic() - began
    close(socks)
    return sent / took / 1e6


def round_trips(address: Address, count: int) -> float:
    """Round trips of 64 bytes a second, one at a time on each connection."""
    socks = connected(address, count)
    poll = select.epoll()
    by_fd = {}
    data = b"e" * 64
    for sock in socks:
        poll.register(sock, select.EPOLLIN)
        by_fd[sock.fileno()] = sock
        sock.send(data)
    done = 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        for fd, _ in poll.poll(1):
            by_fd[fd].recv(64)
            by_fd[fd].send(data)
            done += 1
    took = time.monotonic() - began
    close(socks)
    return done / took


def new_connections(address: Address) -> float:
    """Connections a second, one after the other: connect, one round trip, close."""
    done = 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        close(connected(address, 1))
        done += 1
    return done / (time.monotonic() - began)


def trip_times(address: Address, count: int) -> list[float]:
    """Seconds of single round trips, on ``count`` connections in turn, one at a time."""
    socks = connected(address, count)
    times = []
    for _ in range(max(1, 60 // count)):
        for sock in socks:
            began = time.monotonic()
            sock.sendall(b"e")
            sock.recv(1)
            times.append(time.monotonic() - began)
    close(socks)
    return times


class Proxy:
    """A Toxiproxy server with one proxy to the peer."""

    def __init__(self, api: Address, upstream: Address) -> None:
        self._api = api
        body = {"name": "speed", "upstream": "{}:{}".format(*upstream), "listen": "127.0.0.1:0"}
        host, _, port = str(self._call("POST", "/proxies", body)["listen"]).rpartition(":")
        self.address = (host, int(port))

    def set_latency(self) -> None:
        """Delay answers by LATENCY."""
        body = {"type": "latency", "attributes": {"latency": int(LATENCY * 1000)}}
        self._call("POST", "/proxies/speed/toxics", body)

    def _call(self, method: str, path: str, body: object) -> dict[str, object]:
        url = "http://{}:{}".format(*self._api) + path
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: dict[str, object] = json.load(answer)
        return found


@contextmanager
def process(command: list[str], ready: Callable[[str], Address | None]) -> Iterator[tuple[int, Address]]:
    """Start a process, read lines until ``ready`` finds its address in one; end it afterwards."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    reader = Thread(target=child.stdout.read)  # the original stops when nobody reads its log
    try:
        found = next(filter(None, map(ready, child.stdout)))
        reader.start()
        yield child.pid, found
    finally:
        child.terminate()
        child.wait()
        if reader.ident:
            reader.join()
        child.stdout.close()


def cpu(pid: int) -> float:
    """Processor seconds a process has used; 0 for none."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


RUNS: tuple[tuple[str, float, Callable[[Address], float]], ...] = (
    ("MB/s 1", 1e-3, lambda address: throughput(address, 1)),
    ("MB/s 50", 1e-3, lambda address: throughput(address, 50)),
    ("trips/s 1", 1e-6, lambda address: round_trips(address, 1)),
    ("trips/s 50", 1e-6, lambda address: round_trips(address, 50)),
    ("conns/s", 1e-6, new_connections),
)
"""Head of the column; its unit in that of the costs (GB, millions: processor seconds become µs); what to run."""


@dataclass
class Subject:
    """What is measured: a way to the upstream, and the proxy's process if it has one."""

    name: str
    address: Address
    proxy: Proxy | None = None
    pid: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    def measure(self) -> None:
        """One round. The best of all rounds is kept: what is lost to the neighbours says nothing."""
        for column, unit, run in RUNS:
            before = cpu(self.pid)
            rate = run(self.address)
            cost = (cpu(self.pid) - before) / (rate * SECONDS * unit)
            self.rates[column] = max(rate, self.rates.get(column, 0))
            self.costs[column] = min(cost, self.costs.get(column, cost))

    def lines(self) -> list[list[str]]:
        """Rates and the error of a latency; the second line is processor time."""
        rates = [self.name, *(f"{self.rates[column]:,.0f}" for column, _, _ in RUNS)]
        if self.proxy is None:
            return [[*rates, "", "", ""]]
        plain = statistics.median(trip_times(self.address, 50))
        self.proxy.set_latency()
        times = trip_times(self.address, 50)
        late = sorted((seconds - plain - LATENCY) * 1e6 for seconds in times)
        early = sum(seconds < LATENCY for seconds in times)
        rates += [f"{statistics.median(late):,.0f}", f"{late[int(len(late) * 0.99)]:,.0f}", str(early)]
        costs = [f"{cost:.2f} s/GB" if "MB" in column else f"{cost:.0f} µs" for column, cost in self.costs.items()]
        return [rates, ["", *costs, "", "", ""]]


def main() -> None:
    """Measure and print."""
    with ExitStack() as stack:
        _, upstream = stack.enter_context(
            process([sys.executable, __file__, "peer"], lambda line: ("127.0.0.1", int(line)))
        )
        subjects = [Subject("direct", upstream)]
        pid, api = stack.enter_context(process(server_command(seed=1), address_in))
        proxy = Proxy(api, upstream)
        subjects.append(Subject("embedded", proxy.address, proxy, pid))
        binary = shutil.which("toxiproxy-server")
        if binary is not None:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]

            def ready(line: str) -> Address | None:
                if "Starting Toxiproxy HTTP server" not in line:
                    return None
                time.sleep(0.2)  # the line comes before it listens
                return "127.0.0.1", port

            command = [binary, "-host", "127.0.0.1", "-port", str(port)]
            pid, api = stack.enter_context(process(command, ready))
            proxy = Proxy(api, upstream)
            subjects.append(Subject("original", proxy.address, proxy, pid))
        for _ in range(ROUNDS):
            for subject in subjects:
                subject.measure()
        rows = [["", *(column for column, _, _ in RUNS), "10 ms: p50 µs late", "p99", "early"]]
        for subject in subjects:
            rows += subject.lines()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    peer() if sys.argv[1:] == ["peer"] else main()
