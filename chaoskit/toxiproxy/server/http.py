"""The API's HTTP server: one connection at a time is read, answered and kept alive."""

from __future__ import annotations

import os
import socket
import time
from time import monotonic

from chaoskit.toxiproxy.server.api import TEXT, Answer, Api, Request
from chaoskit.toxiproxy.server.http1 import Head, Malformed, Messages
from chaoskit.toxiproxy.server.log import Log
from chaoskit.toxiproxy.server.reactor import READ, WRITE, Reactor, Timer

_MAX_HEAD = 32 * 1024
_MAX_BODY = 4 * 1024 * 1024
_PATIENCE = 10.0  # seconds for a whole request to come, or for an answer to be taken
_REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    413: "Request Entity Too Large", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented",
}  # fmt: skip
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


class HttpServer:
    """Accepts connections for the API."""

    def __init__(self, reactor: Reactor, api: Api, log: Log, listener: socket.socket) -> None:
        self.reactor = reactor
        self.api = api
        self.log = log
        self.connections: set[_Connection] = set()
        self._listener = listener
        listener.setblocking(False)
        reactor.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError:
            return  # gone again, or no descriptor free: the client tries again
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.add(_Connection(self, sock, f"{peer[0]}:{peer[1]}"))

    def close(self) -> None:
        """Stop accepting; end all connections once what they were answered is sent."""
        self.reactor.forget(self._listener.fileno())
        self._listener.close()
        for connection in list(self.connections):
            connection.close()


class _Connection(Messages):
    """One client of the API. It may be idle for ever, but not stop in the middle of something."""

    max_head = _MAX_HEAD

    def __init__(self, server: HttpServer, sock: socket.socket, peer: str) -> None:
        super().__init__()
        self._server = server
        self._sock = sock
        self._peer = peer
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._rest = memoryview(b"")  # came, and waits for its turn
        self._answered = False
        self._out = b""
        self._closing = False
        self._deadline: Timer | None = None
        server.reactor.watch(sock.fileno(), READ, self._readable)

    def on_start(self) -> None:
        self._expect_progress()

    def on_head(self, head: Head) -> int:
        self._head = head
        self._body = []
        self._size = 0
        if (head.get("transfer-encoding") or "chunked").lower() != "chunked":
            raise Malformed("transfer-encoding", 501)
        length = head.body_length() or 0
        if length > _MAX_BODY:
            raise Malformed("body too long", 413)
        if (head.get("expect") or "").lower() == "100-continue":
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return length

    def on_body(self, data: memoryview) -> None:
        self._size += len(data)
        if self._size > _MAX_BODY:
            raise Malformed("body too long", 413)
        self._body.append(bytes(data))

    def on_end(self) -> None:
        head = self._head
        assert head is not None
        method, _, rest = head.first_line.partition(" ")
        target, _, version = rest.partition(" ")
        if not (version.startswith("HTTP/1.") and version[7:].isdigit()):
            raise Malformed("version")
        version = version if version == "HTTP/1.0" else "HTTP/1.1"
        self._done()
        self._answered = True
        started = monotonic()
        path, _, query = target.partition("?")
        if "%" in path:
            from urllib.parse import unquote  # rare, and costs start-up time

            path = unquote(path)
        agent, authorization = head.get("user-agent") or "", head.get("authorization") or ""
        request = Request(method, path, query, b"".join(self._body), agent, authorization)
        refusal = self._server.api.guard.refusal(head.get)
        answer = Answer(403, f"{refusal}\n".encode(), TEXT) if refusal else self._server.api.answer(request)
        asked = (head.get("connection") or "").lower()
        keep = asked != "close" if version == "HTTP/1.1" else asked == "keep-alive"
        number = _request_id() if answer.known else ""
        self._send(_render(answer, version, keep, number, method == "HEAD"))
        self._server.log.debug(
            "",
            request_id=number,
            client=self._peer,
            method=method,
            url=target,
            user_agent=agent,
            status=answer.status,
            size=len(answer.body),
            duration=round((monotonic() - started) * 1000, 3),
            handler=answer.handler,
        )
        if not keep:
            self._end()

    def _readable(self, _events: int) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._end()
            return
        self._rest = memoryview(data)
        self._answer_one()

    def _answer_one(self) -> None:
        """Read on to the end of one request: who sends many at once takes turns with all others."""
        self._answered = False
        try:
            while self._rest and not self.stopped and not self._answered:
                self._rest = self._rest[self._step(self._rest) :]
        except Malformed as error:
            text = f"{error.status} {_REASONS[error.status]}: {error}"
            self._send(_render(Answer(error.status, text.encode(), TEXT, False), "HTTP/1.1", False))
            self._end()
        except BaseException:
            self.close()  # a defect of ours, which the reactor reports: better no answer than waiting for one
            raise
        if self._rest and not self.stopped:
            self._server.reactor.watch(self._sock.fileno(), WRITE, self._writable)

    def _send(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def _flush(self) -> None:
        try:
            self._out = self._out[self._sock.send(self._out) :]
        except BlockingIOError:
            pass  # the rest goes when there is room
        except OSError:
            self.close()
            return
        if self._out:
            # A client that does not read its answers is not read either.
            self._expect_progress()
            self._server.reactor.watch(self._sock.fileno(), WRITE, self._writable)

    def _expect_progress(self) -> None:
        if self._deadline is None:
            self._deadline = self._server.reactor.at(monotonic() + _PATIENCE, self.close)

    def _done(self) -> None:
        if self._deadline is not None:
            self._server.reactor.cancel(self._deadline)
            self._deadline = None

    def _writable(self, _events: int) -> None:
        if self._out:
            self._done()
            self._flush()
        if self._out or (self.stopped and not self._closing):
            return
        if self._closing:
            self.close()
        elif self._rest:
            self._answer_one()
        else:
            self._server.reactor.watch(self._sock.fileno(), READ, self._readable)

    def _end(self) -> None:
        """Close when everything is sent."""
        self.stopped = self._closing = True
        if not self._out:
            self.close()

    def close(self) -> None:
        """Close now."""
        self.stopped = True
        self._out = b""
        self._done()
        if self in self._server.connections:
            self._server.connections.discard(self)
            self._server.reactor.forget(self._sock.fileno())
            self._sock.close()


def _render(answer: Answer, version: str, keep: bool, request_id: str = "", head_only: bool = False) -> bytes:
    lines = [f"{version} {answer.status} {_REASONS[answer.status]}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    if answer.content_type == TEXT:
        lines.append("X-Content-Type-Options: nosniff")
    if request_id:
        lines.append(f"X-Toxiproxy-Request-Id: {request_id}")
    if answer.location:
        lines.append(f"Location: {answer.location}")
    lines.append(time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()))
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    if not keep:
        lines.append("Connection: close")
    elif version == "HTTP/1.0":
        lines.append("Connection: keep-alive")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if head_only else head + answer.body


def _request_id() -> str:
    """Twenty letters and digits, as the original's."""
    return "".join(_ALPHABET[byte & 31] for byte in os.urandom(20))
