"""gofail's HTTP API.

====== ================= ========================================
GET    /, /failpoints    all failpoints, ``name=terms`` per line
PUT    /failpoints       set several, ``a=terms;b=terms``: all or none
GET    /NAME             its terms
GET    /NAME/count       how often it acted since it was set
PUT    /NAME             set it to the terms in the body
DELETE /NAME             switch it off
====== ================= ========================================

Changes answer 204. Texts are gofail's, with the reason appended. gofail answers 400 to a PUT or DELETE of a name it
does not know; here that is 404, so that "not there (yet)" can be told from "bad terms".

Who reaches this can end the process, so it listens on loopback only, and answers neither web pages (``Origin``) nor
requests to a name that only leads here (``Host``). chaoskit's containers, whose loopback nobody reaches, set
``CHAOSKIT_FAILPOINTS_ANY_ADDRESS=1``: then any address and any name will do.
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from chaoskit.failpoints.active import LOCK, quiet
from chaoskit.failpoints.errors import DisabledFailpoint, FailpointsError, UnknownFailpoint
from chaoskit.failpoints.points import POINTS, split_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_BODY = 65536  # bytes
_IDLE = 60.0  # seconds a kept connection may stay silent


class Server(socketserver.ThreadingTCPServer):
    """The API at one address, served by daemon threads in which no failpoint acts."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}"
        # No thread answers in a forked child: clients must not end up in its queue.
        os.register_at_fork(after_in_child=self.server_close)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="chaoskit.failpoints", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        quiet()
        while not self._closing:  # not serve_forever, which wakes a process that is otherwise idle
            self.handle_request()

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], address: object) -> None:
        quiet()
        super().process_request_thread(request, address)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A client that went away is nothing to report."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop answering."""
        self._closing = True
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for clients
        self._thread.join()
        self.server_close()


def serve(address: str) -> Server:
    """Serve the API at ``HOST:PORT`` (port 0: any free one).

    Raises FailpointsError for an address that is not loopback, or is taken.
    """
    host, port = _loopback(address)
    try:
        return Server(host, port)
    except OSError as error:
        raise FailpointsError(f"cannot serve the failpoint API at {address}: {error}") from None


def _loopback(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise FailpointsError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:22381")
    if not (_is_loopback(host) or _any_address()):
        raise FailpointsError(f"{host or 'every interface'!r} is not loopback; legal: 127.0.0.1, localhost, [::1]")
    return {"localhost": "127.0.0.1", "[::1]": "::1"}.get(host, host), int(port)


def _any_address() -> bool:
    """True where chaoskit vouches for the network: that of a container of the run, which has no other way in."""
    return os.environ.get("CHAOSKIT_FAILPOINTS_ANY_ADDRESS") == "1"


def _is_loopback(host: str) -> bool:
    parts = host.split(".")
    return host in ("localhost", "[::1]") or (
        len(parts) == 4 and parts[0] == "127" and all(p.isdecimal() and int(p) < 256 for p in parts)
    )


def _several(body: str) -> dict[str, str]:
    try:
        return split_items(body)
    except FailpointsError as error:
        raise _Refused(400, f"fail to parse failpoint: {error}") from None


class _Refused(Exception):
    """The request itself is not acceptable."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "chaoskit-failpoints"
    timeout = _IDLE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(self._get, "failed to GET: ")

    def do_PUT(self) -> None:
        self._answer(self._put, "fail to set failpoint: ")

    def do_DELETE(self) -> None:
        self._answer(self._delete, "failed to delete failpoint ")

    def do_POST(self) -> None:
        self._answer(self._not_allowed, "")

    do_PATCH = do_HEAD = do_OPTIONS = do_POST  # noqa: N815  # the base class looks for these names

    def _answer(self, work: Callable[[str, str], None], prefix: str) -> None:
        try:
            body = self._accept()
            work(unquote(self.path[1:]), body)
        except _Refused as error:
            self._send(error.status, f"{error}\n")
        except UnknownFailpoint as error:
            self._send(404, f"{prefix}{error}\n")
        except FailpointsError as error:
            self._send(400, f"{prefix}{error}\n")

    def _get(self, name: str, _: str) -> None:
        if name in ("", "failpoints"):
            lines = [f"{name}={terms}" for name, terms in POINTS.listing().items()]
            self._send(200, "\n".join(lines) + "\n")
            return
        point = name.removesuffix("/count")
        try:
            terms, count = POINTS.status(point)
        except (UnknownFailpoint, DisabledFailpoint) as error:
            disabled_count = point != name and isinstance(error, DisabledFailpoint)
            end = "\n\n" if point == name else "\n"  # as gofail has it
            self._send(500 if disabled_count else 404, f"failed to GET: {error}{end}")
        else:
            self._send(200, f"{terms}\n" if point == name else str(count))

    def _put(self, name: str, body: str) -> None:
        items = _several(body) if name.lower() == "failpoints" else {name: body.strip()}
        prepared = POINTS.prepare(items)
        # What acts from now on waits for the lock, so an abort cannot overtake the answer.
        with LOCK:
            POINTS.apply(prepared)
            self._send(204, "")

    def _delete(self, name: str, _: str) -> None:
        POINTS.unset(name)
        self._send(204, "")

    def _not_allowed(self, _: str, __: str) -> None:
        raise _Refused(405, "Method not allowed")

    def _accept(self) -> str:
        """The body of a request that may be answered. Raises _Refused."""
        self.close_connection = True  # until the whole request has been read
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if not (_is_loopback(name) or _any_address()):
            raise _Refused(403, f"Host {host!r} is not a loopback name")
        if "Origin" in self.headers:
            raise _Refused(403, "requests from web pages are refused")
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            raise _Refused(411, "a body needs a Content-Length")
        if len(length) > 9 or int(length) > LARGEST_BODY:
            raise _Refused(413, f"a body has at most {LARGEST_BODY} bytes")
        try:
            body = self.rfile.read(int(length)).decode()
        except UnicodeDecodeError:
            raise _Refused(400, "the body is not UTF-8") from None
        self.close_connection = self.headers.get("Connection", "").lower() == "close"
        return body

    def _send(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", "DELETE, GET, PUT")
        if status != 204:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests to the API are not the service's own log."""
