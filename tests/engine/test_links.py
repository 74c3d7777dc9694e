"""Links are asked on this machine and on allowed hosts only."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.errors import BrokenError
from chaoskit.engine.http_probe import status_of

LOOPBACK = BlastRadius()


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that answers with the status that the path names, and the paths it was asked."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(int(self.path.strip("/").partition("?")[0]))
            self.send_header("location", "http://example.com/")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", paths
    server.shutdown()
    server.server_close()


def test_the_status(asked: tuple[str, list[str]]) -> None:
    """Whatever it is; a redirect is not followed."""
    url, paths = asked
    assert [status_of(f"{url}{path}", LOOPBACK) for path in ("/200?a=b", "/404#c", "/302")] == [200, 404, 302]
    assert paths == ["/200?a=b", "/404", "/302"]


@pytest.mark.parametrize("url", ["http://example.com/x", "https://runbooks.example.com", "http://10.0.0.1/"])
def test_beyond_the_blast_radius(url: str) -> None:
    """It is not asked; the message says what to do."""
    with pytest.raises(BrokenError, match="beyond the blast radius; if that is meant: --chaos-allow"):
        status_of(url, LOOPBACK)


@pytest.mark.parametrize("url", ["", "orders", "ftp://localhost/", "http://", "http://[::1", "http://localhost:x/"])
def test_no_link(url: str) -> None:
    """It says so."""
    with pytest.raises(BrokenError, match="is no URL"):
        status_of(url, LOOPBACK)


def test_nobody_there() -> None:
    """It does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(BrokenError, match=r"no answer: .*Connection refused"):
        status_of(f"http://127.0.0.1:{port}/", LOOPBACK)
