"""A scripted HTTP server: ``python -m chaoskit.services.stub --port N --script FILE``.

The script is a JSON list of routes ``{method, path, status, headers, json | body, delay, times}``: the first
one whose method and path (with ``*`` as wildcard) match, and which was not used ``times`` times yet, answers
after ``delay`` seconds. ``POST /_stub/reset`` starts the script again, ``PUT /_stub/script`` replaces it.

Standard library only: it also runs in a container that has nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

CONTROL = "/_stub"


class Script:
    """Routes, and how often each was used since the start or the latest reset."""

    def __init__(self, routes: list[dict[str, Any]]) -> None:
        self.first = routes
        self._lock = threading.Lock()
        self.play(routes)

    def play(self, routes: list[dict[str, Any]]) -> None:
        """Use ``routes`` from now on, until the next reset."""
        with self._lock:
            self._routes = routes
            self._used = [0] * len(routes)

    def match(self, method: str, path: str) -> dict[str, Any] | None:
        """The route that answers, which counts as used; None when there is none."""
        with self._lock:
            for number, route in enumerate(self._routes):
                times = route.get("times")
                if (
                    route.get("method", "*") in ("*", method)
                    and fnmatchcase(path, route["path"])
                    and (times is None or self._used[number] < times)
                ):
                    self._used[number] += 1
                    return route
        return None


class Server(ThreadingHTTPServer):
    """A thread for each connection, which may stay open and ask again."""

    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], script: Script) -> None:
        self.script = script
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name, which may take seconds."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    """Answers any method on any path by the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet
    server: Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        """The base class looks for ``do_METHOD``."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body, path = self._body(), unquote(urlsplit(self.path).path)
        if path.startswith(f"{CONTROL}/"):
            self._control(f"{self.command} {path.removeprefix(CONTROL)}", body)
            return
        route = self.server.script.match(self.command, path)
        if route is None:
            self._send(404, {"error": f"no route for {self.command} {path}"})
            return
        time.sleep(route.get("delay") or 0.0)
        answer = route.get("json")
        text = route.get("body") or ""
        self._send(route.get("status", 200), text if answer is None else answer, route.get("headers") or {})

    def _control(self, what: str, body: bytes) -> None:
        script = self.server.script
        match what:
            case "GET /ready":
                pass
            case "POST /reset":
                script.play(script.first)
            case "PUT /script":
                script.play(json.loads(body))
            case _:
                self._send(404, {"error": f"no {what}"})
                return
        self._send(204, "")

    def _body(self) -> bytes:
        """An unread body would be taken for the next request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        is_text = isinstance(answer, str)
        body = (answer if is_text else json.dumps(answer)).encode()
        self.send_response(status)
        given = {name.lower() for name in headers or {}}
        if status != 204:
            if "content-type" not in given:
                self.send_header("Content-Type", f"{'text/plain' if is_text else 'application/json'}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no events of the stub's own."""


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m chaoskit.services.stub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True, help="JSON file with the list of routes")
    options = parser.parse_args()
    script = Script(json.loads(options.script.read_text(encoding="utf-8")))
    Server((options.host, options.port), script).serve_forever()


if __name__ == "__main__":
    main()
