"""Does the embedded Toxiproxy leak? ``python benchmarks/toxiproxy_churn.py`` churns for 10 minutes (``--minutes``).

Proxies, toxics of every kind, taps and connections come and go under traffic. Each line shows the server's
memory, open files and threads. The end is 1 when memory went on growing after the first fifth, when a file is
left open after all proxies are deleted, when a thread was left, when an answer of the API was an internal error,
or when the server did not end with status 0. One core at most: each worker pauses.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

from chaoskit.toxiproxy.launch import address_in, server_command

WORKERS = 4
# The ledger's ring of 200,000 rows would grow for minutes before it is full: with a small one memory is flat from
# the start, and what grows is a leak.
SMALL_RING = """
import functools, sys
from chaoskit.toxiproxy.server import __main__ as server
server.Ledger = functools.partial(server.Ledger, capacity=2000)
sys.exit(server.main())
"""
GROWTH = 1.10
"""The median memory of the last fifth may be so much of that of the second fifth ..."""
SLACK = 2_000_000
"""... and so many bytes more: the allocator's pages come and go."""
TOXICS: list[tuple[str, dict[str, Any]]] = [
    ("latency", {"latency": 5, "jitter": 5}),
    ("bandwidth", {"rate": 500}),
    ("slow_close", {"delay": 20}),
    ("timeout", {"timeout": 10}),
    ("reset_peer", {"timeout": 3}),
    ("slicer", {"average_size": 300, "size_variation": 100, "delay": 10}),
    ("limit_data", {"bytes": 700}),
    ("noop", {}),
    ("http", {"status": 503, "share": 0.5}),
    ("refuse", {}),
    ("blackhole", {}),
]

Address = tuple[str, int]


class Gauge:
    """The server's figures, from /proc."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def rss(self) -> int:
        """Resident bytes."""
        return int((self._folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> int:
        """Open descriptors."""
        return len(list((self._folder / "fd").iterdir()))

    def threads(self) -> int:
        """Threads."""
        return len(list((self._folder / "task").iterdir()))

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(errors: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """An embedded server; of its log only the unexpected errors are kept."""
    python, _, _, *flags = server_command(seed=1)
    process = subprocess.Popen([python, "-c", SMALL_RING, *flags], stdout=subprocess.PIPE)
    assert process.stdout is not None
    address = None
    while address is None:
        address = address_in(process.stdout.readline().decode())

    def read() -> None:
        errors.extend(line.decode() for line in process.stdout or () if b"Unexpected error" in line)

    reader = Thread(target=read)
    reader.start()
    try:
        yield process, address
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@contextmanager
def echo() -> Iterator[str]:
    """The upstream: a process of its own that sends back what comes."""
    script = (
        "import socketserver\n"
        "class Echo(socketserver.BaseRequestHandler):\n"
        "    def handle(self):\n"
        "        try:\n"
        "            while data := self.request.recv(65536): self.request.sendall(data)\n"
        "        except OSError: pass\n"
        "class Server(socketserver.ThreadingTCPServer): daemon_threads = True; request_queue_size = 1024\n"
        "server = Server(('127.0.0.1', 0), Echo)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Worker:
    """Creates proxies of its own, treats them badly, deletes them, until told to stop."""

    def __init__(self, number: int, api: Address, upstream: str, done: Event) -> None:
        self._random = random.Random(number)
        self._name = f"churn ü {number}"
        self._api = api
        self._upstream = upstream
        self._done = done
        self.counts: Counter[str] = Counter()
        self.failure = ""

    def run(self) -> None:
        """A round is one proxy's life."""
        try:
            with closing(http.client.HTTPConnection(*self._api, timeout=30)) as self._http:
                while not self._done.is_set():
                    self._round()
        except Exception as error:
            self.failure = repr(error)

    def _call(self, method: str, path: str, body: object = None) -> bytes:
        self._http.request(method, path, None if body is None else json.dumps(body))
        answer = self._http.getresponse()
        text = answer.read()
        self.counts["calls"] += 1
        if answer.status >= 500:
            raise RuntimeError(f"{answer.status} to {method} {path}: {text.decode()}")
        return text

    def _round(self) -> None:
        path = f"/proxies/{quote(self._name)}"
        entry = {"name": self._name, "upstream": self._upstream, "listen": "127.0.0.1:0"}
        if self._random.random() < 0.2:
            entry["upstream"] = "127.0.0.1:1"
        shown = json.loads(self._call("POST", "/populate", [entry]))["proxies"][0]
        self.counts["proxies"] += 1
        host, _, port = shown["listen"].rpartition(":")
        if self._random.random() < 0.5:
            self._call("PUT", f"/chaoskit/taps/{quote(self._name)}", {"id_headers": ["x-request-id"], "mirror": True})
        socks: list[socket.socket] = []
        for _ in range(8):
            self._add_toxic(path)
            for _ in range(6):
                self._connect((host, int(port)), socks)
            self._talk(socks)
            self._change(path)
            self._done.wait(0.02)
        self._call("GET", "/chaoskit/events?since=0&flush=1")
        self._call("GET", "/chaoskit/counters")
        self._call("DELETE", path)
        for sock in socks:
            sock.close()

    def _add_toxic(self, path: str) -> None:
        kind, attributes = self._random.choice(TOXICS)
        body: dict[str, Any] = {"type": kind, "attributes": attributes, "toxicity": self._random.choice([0.5, 1])}
        if kind not in ("http", "refuse", "blackhole"):
            body["stream"] = self._random.choice(["upstream", "downstream"])
        if self._random.random() < 0.3:
            body["ttl"] = 50
        self._call("POST", f"{path}/toxics", body)
        self.counts["toxics"] += 1

    def _change(self, path: str) -> None:
        chance = self._random.random()
        toxics = json.loads(self._call("GET", f"{path}/toxics"))
        if chance < 0.3 and toxics:
            self._call("DELETE", f"{path}/toxics/{self._random.choice(toxics)['name']}")
        elif chance < 0.6 and toxics:
            self._call("PATCH", f"{path}/toxics/{self._random.choice(toxics)['name']}", {"toxicity": 0.7})
        elif chance < 0.7:
            self._call("PATCH", path, {"enabled": False})
            self._call("PATCH", path, {"enabled": True})

    def _connect(self, address: Address, socks: list[socket.socket]) -> None:
        with suppress(OSError):
            socks.append(socket.create_connection(address, timeout=1))
            self.counts["connections"] += 1

    def _talk(self, socks: list[socket.socket]) -> None:
        request = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
        for sock in socks[-12:]:
            with suppress(OSError):
                sock.settimeout(0.003)
                sock.sendall(request)
                self.counts["bytes back"] += len(sock.recv(65536))
        while len(socks) > 30:  # some close politely, some by RST
            sock = socks.pop(self._random.randrange(len(socks)))
            if self._random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()


def churn(minutes: float, every: float) -> list[str]:
    """Run, print, and say what is wrong."""
    wrong: list[str] = []
    done = Event()
    with echo() as upstream, server(wrong) as (process, api):
        gauge = Gauge(process.pid)
        first_files, first_threads = gauge.files(), gauge.threads()
        workers = [Worker(number, api, upstream, done) for number in range(WORKERS)]
        threads = [Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        memory: list[int] = []
        began = time.monotonic()
        print("  minute   memory MB   files   threads   CPU s    calls  proxies   toxics  connections")
        next_line = began
        end = began + minutes * 60
        while (now := time.monotonic()) < end and process.poll() is None and all(map(Thread.is_alive, threads)):
            time.sleep(0.5)
            memory.append(gauge.rss())
            if now >= next_line:
                next_line += every
                _print_line((now - began) / 60, gauge, workers)
        done.set()
        for thread in threads:
            thread.join()
        wrong += [worker.failure for worker in workers if worker.failure]
        if process.poll() is not None:
            return [*wrong, f"the server ended with status {process.returncode}"]
        _print_line((time.monotonic() - began) / 60, gauge, workers)
        wrong += _left(gauge, first_files, first_threads)
        process.send_signal(signal.SIGTERM)
        if process.wait(10) != 0:
            wrong.append(f"SIGTERM ended it with status {process.returncode}")
    fifth = max(1, len(memory) // 5)
    early, late = statistics.median(memory[fifth : 2 * fifth] or memory), statistics.median(memory[-fifth:])
    print(f"memory: {early / 1e6:.1f} MB in the second fifth, {late / 1e6:.1f} MB in the last")
    if late > early * GROWTH + SLACK:
        wrong.append("memory is not flat")
    return wrong


def _print_line(minute: float, gauge: Gauge, workers: list[Worker]) -> None:
    total = sum((worker.counts for worker in workers), Counter[str]())
    print(
        f"{minute:8.1f} {gauge.rss() / 1e6:11.1f} {gauge.files():7} {gauge.threads():9} {gauge.processor():7.1f} "
        f"{total['calls']:8,} {total['proxies']:8,} {total['toxics']:8,} {total['connections']:12,}",
        flush=True,
    )


def _left(gauge: Gauge, files: int, threads: int) -> list[str]:
    """What is open although everything was deleted."""
    limit = time.monotonic() + 10
    while gauge.files() > files and time.monotonic() < limit:
        time.sleep(0.1)
    print(f"left when all is deleted: {gauge.files() - files} files, {gauge.threads() - threads} threads")
    wrong = []
    if gauge.files() > files:
        wrong.append(f"{gauge.files() - files} files were left open")
    if gauge.threads() > threads:
        wrong.append(f"{gauge.threads() - threads} threads were left")
    return wrong


def main() -> int:
    """0 when nothing leaked."""
    parser = argparse.ArgumentParser(description="Churn the embedded Toxiproxy and watch it for leaks.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=30, help="seconds between lines")
    arguments = parser.parse_args()
    wrong = churn(arguments.minutes, arguments.every)
    for line in wrong:
        print(f"WRONG: {line}")
    if not wrong:
        print("nothing leaked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
