"""A rig for the reference service: real PostgreSQL and Redis, the three processes, and what breaks between them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from chaoskit.base.clock import now, wait_for
from chaoskit.services.providers._postgres_server import find_binaries
from chaoskit.services.providers.redis import find_server

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

_taken: set[int] = set()


PG_BIN = find_binaries(None).folder
REDIS = find_server()


def free_port() -> int:
    """A free loopback port below the ephemeral range, never the same twice in one run."""
    start = 20_000 + (os.getpid() * 97) % 10_000
    for port in (*range(start, 32_000), *range(12_000, start)):
        if port not in _taken:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    _taken.add(port)
                    return port
    raise RuntimeError("no free port")


# Limits far above what is needed: the machine may be busy. A test about a limit sets its own.
PATIENT = {
    "DB_ACQUIRE_TIMEOUT_S": "5",
    "DB_STATEMENT_TIMEOUT_S": "5",
    "REDIS_TIMEOUT_S": "5",
    "PAYMENT_ATTEMPT_TIMEOUT_S": "5",
    "ORDER_DEADLINE_S": "15",
    "LOCK_LEASE_S": "30",
    "LOCK_WAIT_S": "15",
}


class Running:
    """A child process with its output in a file."""

    def __init__(self, command: list[str], output: Path, env: dict[str, str] | None = None) -> None:
        self.output = output
        with output.open("ab") as sink:
            self.process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=env)

    def stop(self, how: signal.Signals = signal.SIGTERM, limit: float = 10.0) -> int:
        """Send ``how`` and wait for the end; gives the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(limit)

    def text(self) -> str:
        return self.output.read_text()


class Shop(Running):
    """One process of the shop."""

    def __init__(self, service: str, output: Path, env: dict[str, str]) -> None:
        self.port, self.failpoints = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {
            "PORT": str(self.port),
            "GOFAIL_HTTP": f"127.0.0.1:{self.failpoints}",
            "PYTHONPATH": str(EXAMPLES),
        }
        super().__init__([sys.executable, "-m", f"shop.{service}"], output, os.environ | settings | env)
        self.session = requests.Session()

    def ready(self) -> Shop:
        def answers() -> bool:
            assert self.process.poll() is None, self.text()
            try:
                return requests.get(self.url + "/readyz", timeout=1).status_code == 200
            except requests.RequestException:
                return False

        wait_for(answers, what=f"{self.output.name} to be ready", limit=60, last_seen=self.text)
        return self

    def order(self, sku: str = "sku-01", **more: Any) -> requests.Response:
        """Place an order; a fresh user and request id unless told otherwise."""
        headers = {"x-request-id": more.pop("request_id", uuid.uuid4().hex)} | more.pop("headers", {})
        body = {"user": uuid.uuid4().hex, "sku": sku, "quantity": 1} | more
        return requests.post(self.url + "/orders", json=body, headers=headers, timeout=30)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=30)

    def metric(self, name: str) -> float:
        """The sum over all series of a metric."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found, f"no metric {name}"
        return sum(map(float, found))

    def fail(self, point: str, terms: str) -> None:
        answer = requests.put(f"http://127.0.0.1:{self.failpoints}/{point}", data=terms, timeout=5)
        assert answer.ok, answer.text

    def heal(self, point: str) -> None:
        requests.delete(f"http://127.0.0.1:{self.failpoints}/{point}", timeout=5)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in map(json.loads, self.text().splitlines()) if line["event"] == event]


class Rig:
    """PostgreSQL, Redis, and whatever processes a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pg_port, self.redis_port = free_port(), free_port()
        self.database_url = f"postgresql://postgres@127.0.0.1:{self.pg_port}/postgres"
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self._as_user = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        self._data = folder / "pgdata"
        initdb = [
            PG_BIN / "initdb",
            "-D",
            self._data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*self._as_user, *initdb, "--no-sync"], check=True, capture_output=True)
        self.postgres = self._start_postgres()
        self.redis = self.start_redis()

    def _start_postgres(self) -> Running:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        command = [
            *self._as_user,
            str(PG_BIN / "postgres"),
            "-D",
            str(self._data),
            "-p",
            str(self.pg_port),
            *options,
        ]
        running = Running(command, self.folder / "postgres.log")
        wait_for(self._connects, what="postgres", limit=20, last_seen=running.text)
        return running

    def _connects(self) -> bool:
        try:
            psycopg.connect(self.database_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def start_redis(self) -> Running:
        command = [str(REDIS), "--port", str(self.redis_port), "--save", "", "--appendonly", "no"]
        running = Running([*command, "--bind", "127.0.0.1"], self.folder / "redis.log")
        wait_for(lambda: b"PONG" in self._ping(), what="redis", limit=10, last_seen=running.text)
        return running

    def _ping(self) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.redis_port), timeout=1) as wire:
                wire.sendall(b"PING\r\n")
                return wire.recv(64)
        except OSError:
            return b""

    def restart_postgres(self) -> None:
        self.postgres.stop(signal.SIGINT)
        self.postgres = self._start_postgres()

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def count(self, where: str, *parameters: object) -> int:
        """How many rows ``SELECT count(*) FROM`` this gives."""
        return int(self.sql("SELECT count(*) FROM " + where, *parameters)[0][0])

    def close(self) -> None:
        self.redis.stop()
        self.postgres.stop(signal.SIGINT)


class Payments:
    """A stand-in for payments that answers as told: a status, seconds to wait first, or "reset".

    ``script`` is asked with the number of the call (from 0). ``calls`` holds when each call came, its key and headers.
    """

    def __init__(self) -> None:
        self.script: Callable[[int], int | float | str] = lambda _: 201
        self.calls: list[tuple[float, str, dict[str, str]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                stub.calls.append((now(), body["order_key"], headers))
                told = stub.script(len(stub.calls) - 1)
                if told == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                if isinstance(told, float):
                    time.sleep(told)
                status = told if isinstance(told, int) else 201
                # In one piece: head and body apart would wait for the peer's delayed acknowledgement.
                self.wfile.write(f"HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}".encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A caller that did not wait is part of the tests."""

        self._server = Server(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One PostgreSQL and one Redis for all tests."""
    folder = tmp_path_factory.mktemp("shop")
    rig = Rig(folder)
    yield rig
    rig.close()


@pytest.fixture
def start(rig: Rig, tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """``start("orders", RECOVERY="off")``: a process of the shop that ends with the test."""
    started: list[Shop] = []

    def run(service: str, *, wait: bool = True, **env: str) -> Shop:
        urls = {"DATABASE_URL": rig.database_url, "REDIS_URL": rig.redis_url}
        shop = Shop(service, tmp_path / f"{service}-{len(started)}.log", PATIENT | urls | env)
        started.append(shop)
        return shop.ready() if wait else shop

    yield run
    for shop in started:
        shop.stop(signal.SIGKILL)


@pytest.fixture
def payments() -> Iterator[Payments]:
    """The stand-in for payments."""
    payments = Payments()
    yield payments
    payments.close()


@pytest.fixture
def together() -> Iterator[Callable[..., list[Any]]]:
    """``together(n, call)``: ``n`` calls at the same time; gives their results."""
    with ThreadPoolExecutor(64) as threads:
        yield lambda n, call: [future.result() for future in [threads.submit(call) for _ in range(n)]]
