"""A small context for faults: embedded Toxiproxy, real servers, a process with failpoints, and talkers on the wire."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from victims import contain as contain  # a fixture

from chaoskit.alerting.sink import AlertSink
from chaoskit.base.clock import now, wait_for
from chaoskit.failpoints.client import FailpointClient
from chaoskit.history.rows import Event, Row
from chaoskit.language.service import ReadySpec, ServiceSpec
from chaoskit.services.base import Service
from chaoskit.services.create import create
from chaoskit.system.journal import Journal
from chaoskit.system.processes import start_process
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.launch import address_in, server_command
from chaoskit.traffic.spec import Stream

WORKER = """
import json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from chaoskit.failpoints import failpoint, register

register("orders/place")


def place():
    return "fine"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, text = 200, "fine"
        began = time.monotonic()
        if self.path == "/place":
            try:
                failpoint("orders/place")
                text = place()
            except Exception as error:
                status, text = 500, str(error)
        body = json.dumps({"pid": os.getpid(), "text": text, "took": time.monotonic() - began}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever(0.02)
"""


class FaultContext:
    """What faults may reach in these tests. Streams are noted, not sent."""

    def __init__(self, folder: Path, journal: Journal, toxiproxy: ToxiproxyControl) -> None:
        self.folder = folder
        self.journal = journal
        self.toxiproxy = toxiproxy
        self.services: dict[str, Service] = {}
        self.rows: list[Row] = []
        self.alerts = AlertSink(self.rows.append)
        self.held: list[Callable[[], None]] = []
        self.streams: dict[str, Stream] = {}
        self.stopped: list[str] = []
        self.answered = 0
        self._proxies: dict[str, tuple[str, int]] = {}
        self._own: list[Service] = []

    def add(self, name: str, **spec: Any) -> Service:
        """Start a service, with a proxy in front of it."""
        given = ServiceSpec(**spec)
        service = create(name, given, folder=self.folder, journal=self.journal, emit=self.rows.append)
        self._own.append(service)
        service.start()
        return self.adopt(name, service)

    def adopt(self, name: str, service: Service) -> Service:
        """Put a proxy in front of a service that runs."""
        self.services[name] = service
        if service.port:
            self.add_proxy(name, service.port)
        return service

    def add_worker(self, restart: str = "never", **spec: Any) -> Service:
        """The process with the failpoint ``orders/place`` and the function ``place`` behind ``/place``."""
        program = self.folder / "worker.py"
        program.write_text(WORKER)
        return self.add(
            "worker",
            command=[sys.executable, "-m", "chaoskit.failpoints.agent", str(program)],
            failpoints=True,
            restart=restart,
            ready=ReadySpec(http="/health", within="10s"),
            **spec,
        )

    def add_proxy(self, name: str, port: int) -> None:
        made = self.toxiproxy.create_proxy(name, f"127.0.0.1:{port}")
        self._proxies[name] = (made.host, made.port)

    def close(self) -> None:
        for service in self._own:
            service.stop()
        for name in self._proxies:
            self.toxiproxy.delete_proxy(name)

    def events(self, what: str) -> list[Event]:
        return [row for row in self.rows if isinstance(row, Event) and row.what == what]

    # FaultContext

    def service(self, name: str) -> Service:
        return self.services[name]

    def proxied(self, name: str) -> tuple[str, int]:
        return self._proxies[name]

    def failpoints(self, name: str) -> FailpointClient:
        url = self.services[name].failpoints_url
        assert url is not None
        return FailpointClient(url)

    def start_stream(self, stream: Stream) -> None:
        self.streams[stream.id] = stream

    def stop_stream(self, stream_id: str) -> None:
        self.stopped.append(stream_id)

    def requests_sent(self, stream_id: str) -> int:
        return self.answered if stream_id in self.streams else 0

    def hold(self, undo: Callable[[], None]) -> None:
        self.held.append(undo)


class Echo:
    """A TCP server that sends back what it gets. ``ended`` notes when each connection's end was seen."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received: list[bytes] = []
        self.ended: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.received.append(data)
                if data == b"bye":
                    break
                connection.sendall(data)
        self.ended.append(now())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Talker:
    """A client of the echo server, through the proxy."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=5.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, data: bytes = b"hello", limit: float = 5.0) -> float:
        """Send and wait for the echo; gives the seconds it took."""
        began = now()
        self.socket.settimeout(limit)
        self.socket.sendall(data)
        left = len(data)
        while left:
            got = self.socket.recv(65536)
            if not got:
                raise EOFError(f"{left} bytes are missing")
            left -= len(got)
        return now() - began

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture(scope="session")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyControl]:
    """One embedded server for all tests."""
    folder = tmp_path_factory.mktemp("toxiproxy")
    journal = Journal(folder / "undo.journal")
    found: list[tuple[str, int]] = []

    def look(_stream: str, line: str, _at: float) -> None:
        if not found and (address := address_in(line)):
            found.append(address)

    server = start_process(server_command(), name="toxiproxy", journal=journal, pidfile=folder / "pid", on_line=look)
    wait_for(lambda: found, what="the embedded Toxiproxy", limit=10, last_seen=lambda: str(server.last_lines))
    yield ToxiproxyControl(f"http://{found[0][0]}:{found[0][1]}")
    server.terminate(1.0)
    journal.close()


@pytest.fixture
def context(tmp_path: Path, toxiproxy: ToxiproxyControl) -> Iterator[FaultContext]:
    """An empty context; what a test adds to it ends with the test."""
    journal = Journal(tmp_path / "undo.journal")
    context = FaultContext(tmp_path, journal, toxiproxy)
    yield context
    context.close()
    journal.undo_all()
    journal.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One server for all tests, for 20 sessions; nobody writes to it."""
    folder = tmp_path_factory.mktemp("postgres")
    journal = Journal(folder / "undo.journal")
    spec = ServiceSpec(provider="postgres", args={"max_connections": 20}, ready=ReadySpec(tcp=True, within="30s"))
    service = create("db", spec, folder=folder, journal=journal, emit=lambda row: None)
    service.start()
    yield service
    service.stop()
    journal.close()


@pytest.fixture
def echo(context: FaultContext) -> Iterator[Echo]:
    """The echo server as the service ``echo``, behind its proxy."""
    echo = Echo()
    context.add_proxy("echo", echo.port)
    yield echo
    echo.close()


@pytest.fixture
def connect(context: FaultContext, echo: Echo) -> Iterator[Callable[..., Talker]]:
    """Makes clients of the echo server, through the proxy ``echo`` or another."""
    talkers: list[Talker] = []

    def make(name: str = "echo") -> Talker:
        talkers.append(Talker(context.proxied(name)))
        return talkers[-1]

    yield make
    for talker in talkers:
        talker.close()


def ask(service: Service, path: str = "/place", limit: float = 5.0) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a GET, asked directly."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=limit)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(name="ask")
def _ask() -> Callable[..., tuple[int, dict[str, Any]]]:
    return ask
