"""A built report over HTTP, for this machine's own browser: Allure's pages do not work from files."""

from __future__ import annotations

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError

LOOPBACK = "127.0.0.1"

# What services wrote stands in a report: whatever a page makes of it, nothing is loaded from or sent elsewhere.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'none'; frame-ancestors 'self'"


class ReportServer(ThreadingHTTPServer):
    """Serves a folder on loopback. ``port`` 0 takes any that is free. Raises BrokenError when the port is taken."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        try:
            super().__init__((LOOPBACK, port), functools.partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise BrokenError(f"port {port} of {LOOPBACK} cannot be had: {error.strerror}") from None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class _Handler(SimpleHTTPRequestHandler):
    def send_head(self) -> Any:
        """Only for a browser that asked for this machine: a name that was made to point here is a stranger's page."""
        port = self.server.server_port  # type: ignore[attr-defined]  # the server is the one above
        if self.headers.get("Host") not in {f"{name}:{port}" for name in (LOOPBACK, "localhost")}:
            self.send_error(HTTPStatus.FORBIDDEN, "only for this machine")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """With a policy against what hostile text might try."""
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
