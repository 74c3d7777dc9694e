"""gofail's HTTP API.

====== ================= =========================================================================
GET    /, /failpoints    all failpoints, ``name=terms`` per line
PUT    /failpoints       set several, ``a=terms;b=terms``: all or none
GET    /NAME             its terms
GET    /NAME/count       how often it acted since it was set
PUT    /NAME             set it to the terms in the body
DELETE /NAME             switch it off
====== ================= =========================================================================

Changes answer 204. Texts are gofail's, with the reason appended. Otherwise than gofail, which answers 400 to a PUT or
DELETE of a name it does not know, this answers 404, so that "not there (yet)" can be told from "bad terms".

Who can reach this can end the process, so it listens on loopback only, and answers neither web pages (``Origin``)
nor names that only lead here (``Host``).
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from chaoskit.failpoints.points import (
    POINTS,
    DisabledFailpoint,
    FailpointsError,
    UnknownFailpoint,
    quiet,
    split_items,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LARGEST_BODY = 65536  # bytes
_IDLE = 60.0  # seconds a kept connection may stay silent


class Server(socketserver.ThreadingTCPServer):
    """The API at one address, served by daemon threads in which no failpoint acts."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}"
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=self._leave_to_parent)
        threading.Thread(target=self._run, name="chaoskit.failpoints", daemon=True).start()

    def _run(self) -> None:
        quiet()
        self.serve_forever(poll_interval=0.2)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], address: object) -> None:
        quiet()
        super().process_request_thread(request, address)  # type: ignore[arg-type]  # typeshed: str or tuple

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to report."""

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self.server_close()

    def _leave_to_parent(self) -> None:
        if os.getpid() != self._pid:
            self.server_close()  # no thread answers in the child: clients must not end up in its queue


def serve(address: str) -> Server:
    """Serve the API at ``HOST:PORT`` (port 0: any free one). Raises FailpointsError if that is not loopback or taken."""
    host, port = _loopback(address)
    try:
        return Server(host, port)
    except OSError as error:
        raise FailpointsError(f"cannot serve the failpoint API at {address}: {error}") from None


def _loopback(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise FailpointsError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:22381")
    if not _is_loopback(host):
        raise FailpointsError(f"{host or 'every interface'!r} is not loopback; legal: 127.0.0.1, localhost, [::1]")
    return {"localhost": "127.0.0.1", "[::1]": "::1"}.get(host, host), int(port)


def _is_loopback(host: str) -> bool:
    parts = host.split(".")
    return host in ("localhost", "[::1]") or (
        len(parts) == 4 and parts[0] == "127" and all(p.isdecimal() and int(p) < 256 for p in parts)
    )


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "chaoskit-failpoints"
    timeout = _IDLE

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def _other(self) -> None:
        self._answer(self._not_allowed)

    do_POST = do_PATCH = do_HEAD = do_OPTIONS = _other
