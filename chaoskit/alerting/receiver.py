"""One HTTP endpoint of an environment, for what services tell us: alerts, traces, calls of an SOP platform.

It listens where the services reach this machine and nobody else does: on loopback, or at the gateway of the
environment's own network. A web page, and one that has made its own name lead here, is refused
(:mod:`chaoskit.base.api_guard`): it could say that alerts fire, or have SOPs run. What a path means is said by those
who take it (:meth:`Receiver.take`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from chaoskit.alerting.body import BadBody, read
from chaoskit.base.api_guard import Guard

MOST = 16 * 1024 * 1024
"""Bytes of the largest body that is read."""
STALL = 60.0
"""Seconds after which a client that sends nothing is let go."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A request that arrived: header names in lower case, ``at`` monotonic seconds when it was read."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Answer:
    """What the caller gets. ``status`` 0: the connection is reset without an answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


Take = Callable[[Call], Answer]
"""Answers a call, in a thread of its own; it may take its time."""


class Receiver:
    """The endpoint. Its address is the same from :meth:`start` to :meth:`stop`; both may be called again."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._takers: dict[str, Take] = {}

    def take(self, prefix: str, taker: Take) -> None:
        """Have calls to ``prefix`` and to paths below it answered by ``taker``; the longest prefix wins."""
        self._takers[prefix] = taker

    def start(self, host: str, port: int = 0) -> None:
        """Listen on ``port``, a free one unless given. Has no effect while it does."""
        if self._server is None:
            self._server = _Server((host, port), self._answer)
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(0.05,), name="chaoskit-receiver", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def addresses(self) -> dict[str, Any]:
        """What templates may ask of ``chaos``. Empty texts before :meth:`start`."""
        if self._server is None:
            return {"host": "", "port": 0, "url": "", "alerts_url": "", "otlp_url": "", "sops_url": ""}
        host, port = str(self._server.server_address[0]), int(self._server.server_address[1])
        url = f"http://{host}:{port}"
        return {
            "host": host,
            "port": port,
            "url": url,
            "alerts_url": f"{url}/alerts",
            "otlp_url": f"{url}/otlp",
            "sops_url": f"{url}/sops",
        }

    def _answer(self, call: Call) -> Answer:
        path = urlsplit(call.path).path
        fitting = [prefix for prefix in self._takers if path == prefix or path.startswith(prefix.rstrip("/") + "/")]
        if not fitting:
            return Answer(404, b'{"error": "nobody takes this path"}')
        return self._takers[max(fitting, key=len)](call)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], answer: Take) -> None:
        self.answer = answer
        super().__init__(address, _Handler)
        self.guard = Guard(address[0], str(self.server_address[0]))

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name, which may take seconds."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that went away is nothing to report; a mistake of ours is."""
        _log.debug("a call from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = STALL
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method
            return self._do
        raise AttributeError(name)

    def _do(self) -> None:
        from chaoskit.base.clock import now

        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = read(self.rfile, headers, MOST)
        except BadBody as error:
            self._send(Answer(error.status, f'{{"error": "{error}"}}'.encode()))
            self.close_connection = True
            return
        if refusal := self.server.guard.refusal(headers.get):
            self._send(Answer(403, f'{{"error": "{refusal}"}}'.encode()))
            return
        try:
            answer = self.server.answer(Call(self.command, self.path, headers, body, now()))
        except Exception as error:
            _log.warning("a call to %s could not be taken", self.path, exc_info=True)
            answer = Answer(500, f'{{"error": "{type(error).__name__}"}}'.encode())
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.status == 0:
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _reset(self) -> None:
        """Close so that the client sees a RST."""
        import socket
        import struct

        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what matters becomes rows of the history."""
