"""A sweep asks only who was asked when the change was made: a port that has another owner since is left alone."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chaoskit.alerting.actions import switch as _switch  # noqa: F401  # registers how it is undone
from chaoskit.engine import toxiproxy_server as _interposer  # noqa: F401  # likewise
from chaoskit.faults import _failpoint_undo as _failpoint  # noqa: F401  # likewise
from chaoskit.system.ports import free_port
from chaoskit.system.sockets import listens
from chaoskit.system.undo import Entry
from chaoskit.toxiproxy import undo as _toxiproxy  # noqa: F401  # likewise


@contextmanager
def listening(port: int) -> Iterator[list[str]]:
    """A server that answers whatever it is asked; gives the requests it was sent."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815  # names that the class looks for

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("toxic", {"url": "", "proxy": "db", "name": "slow"}),
        ("disabled", {"name": "db", "places": []}),
        ("proxy", {"url": "", "name": "db"}),
        ("failpoint", {"url": "", "name": "orders/charge"}),
        ("switch", {"url": "", "name": "x of y", "host": "127.0.0.1", "method": "PUT", "body": "{}"}),
    ],
)
def test_who_has_the_port_now_hears_nothing(kind: str, facts: dict[str, Any]) -> None:
    """The server that was changed is gone, and took the change with it; he that it was is asked."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    facts = {**facts, **({"places": [[url, "db"]]} if "places" in facts else {"url": url})}
    with listening(port) as asked:
        entry = Entry(kind, {**facts, "listens": listens(url)})
        entry.undo()
        assert asked, "it is still there"
    with listening(port) as asked:
        entry.undo()
        assert asked == []
        Entry(kind, facts).undo()
        assert asked, "what an older version wrote down"
