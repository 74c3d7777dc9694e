"""Real servers, real sockets: an embedded Toxiproxy per test file, and upstreams made of threads."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import ProxyAddress
from chaoskit.toxiproxy.launch import address_in, server_command


@dataclass
class Server:
    """A running Toxiproxy."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """One API call: status, headers (names in lower case), body. ``body``: text as it is, else JSON."""
        text = body if isinstance(body, str | None) else json.dumps(body)
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=10)) as connection:
            connection.request(method, path, text, headers or {})
            answer = connection.getresponse()
            received = answer.read().decode()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, received

    def listens(self, entry: dict[str, Any]) -> int:
        """Create a proxy; the port it listens on."""
        return int(json.loads(self.call("POST", "/proxies", entry)[2])["listen"].rpartition(":")[2])

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines of the log with that message, once there is one."""

        def found() -> list[dict[str, Any]]:
            return [row for row in map(json.loads, list(self.log)) if row.get("message") == message]

        return wait_for(found, what=f"{message!r} in the log", limit=5)

    def rss(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running(command: list[str], env: dict[str, str] | None = None, limit: float = 10) -> Iterator[Server]:
    """Start an embedded server; stop it at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    server = Server(process, "", 0)
    started = threading.Event()

    def read() -> None:
        for line in process.stdout:
            text = line.decode()
            server.log.append(text)
            found = address_in(text)
            if found is not None:
                server.host, server.port = found
                started.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert started.wait(limit), server.log
        yield server
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
        process.stdout.close()


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """``with start(command, env) as server``."""
    return running


@pytest.fixture(scope="session")
def server_class() -> type[Server]:
    """For servers that a test starts in its own way."""
    return Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One embedded server for the tests of a file."""
    with running(server_command(seed=1)) as found:
        yield found


@pytest.fixture
def control(server: Server) -> Iterator[ToxiproxyControl]:
    """The client of the file's server; all proxies are deleted afterwards."""
    client = ToxiproxyControl(server.url)
    yield client
    for name in client.counters():
        client.delete_proxy(name)
    client.close()


@pytest.fixture(scope="session")
def original() -> Iterator[Server]:
    """The original, which must be on PATH."""
    binary = shutil.which("toxiproxy-server")
    assert binary is not None
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([binary, "-host", "127.0.0.1", "-port", str(port)], stdout=subprocess.DEVNULL)
    found = Server(process, "127.0.0.1", port)

    def answers() -> bool:
        try:
            return found.call("GET", "/version")[0] == 200
        except OSError:
            return False

    try:
        wait_for(answers, what="toxiproxy-server", limit=10)
        yield found
    finally:
        process.terminate()
        process.wait(10)


class Upstream:
    """A TCP server on a thread per connection, which runs ``serve(socket)`` for each."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted.append(sock)
            thread = threading.Thread(target=self._run, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        try:
            self._serve(sock)
        except OSError:
            pass  # the proxy ended the connection: that is what is tested
        finally:
            sock.close()

    def connection(self, number: int = 0) -> socket.socket:
        """The connection accepted as the ``number``-th."""
        wait_for(lambda: len(self.accepted) > number, what="a connection at the upstream", limit=5, every=0.002)
        return self.accepted[number]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self.accepted:
            with_shutdown(sock)
        for thread in self._threads:
            thread.join(10)


def with_shutdown(sock: socket.socket) -> None:
    """Wake whoever reads from ``sock``."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already


def echo(sock: socket.socket) -> None:
    """Send back what comes."""
    while data := sock.recv(65536):
        sock.sendall(data)


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """``upstream(serve=echo)`` starts one."""
    started: list[Upstream] = []

    def begin(serve: Callable[[socket.socket], None] = echo) -> Upstream:
        started.append(Upstream(serve))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def connect() -> Iterator[Callable[[ProxyAddress], socket.socket]]:
    """``connect(address)`` opens a client connection, closed after the test."""
    opened: list[socket.socket] = []

    def begin(address: ProxyAddress) -> socket.socket:
        sock = socket.create_connection((address.host, address.port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.append(sock)
        return sock

    yield begin
    for sock in opened:
        sock.close()


class Wire:
    """What one can see of a connection from the client's end."""

    @staticmethod
    def read(sock: socket.socket, size: int) -> bytes:
        """Exactly ``size`` bytes, or less when the stream ends."""
        data = b""
        while len(data) < size and (part := sock.recv(size - len(data))):
            data += part
        return data

    @staticmethod
    def end(sock: socket.socket, within: float = 5) -> str:
        """How the connection ends: ``fin`` or ``reset``; ``open`` when it does not."""
        sock.settimeout(within)
        try:
            while sock.recv(65536):
                pass
        except TimeoutError:
            return "open"
        except ConnectionResetError:
            return "reset"
        return "fin"

    @staticmethod
    def round_trip(sock: socket.socket, data: bytes = b"ping") -> float:
        """Seconds until ``data`` has come back."""
        started = time.monotonic()
        sock.sendall(data)
        assert Wire.read(sock, len(data)) == data
        return time.monotonic() - started


@pytest.fixture
def wire() -> type[Wire]:
    """Reading from a client's socket."""
    return Wire
