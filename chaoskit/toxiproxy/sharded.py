"""Several Toxiproxy servers behind one control: each proxy belongs to one of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from chaoskit.base.errors import BrokenError, unknown
from chaoskit.history.rows import Connection, Exchange
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.facts import Events, ProxyAddress, ProxyCounters, Toxic

KEPT = 200_000
"""Rows that are kept of all servers together, as many as one server keeps."""


class RoutedToxiproxy(ToxiproxyControl):
    """Controls the servers that ``servers`` names for each proxy; a server may stand there more than once.

    The rows of all servers get one numbering of their own, in the order in which they were fetched, so that a
    cursor means here what it means with one server.
    """

    def __init__(self, servers: Mapping[str, ToxiproxyControl]) -> None:
        self._servers = dict(servers)
        self._all = list(dict.fromkeys(self._servers.values()))
        self._lock = threading.Lock()
        self._cursors = dict.fromkeys(self._all, 0)
        self._rows: list[Connection | Exchange] = []
        self._forgotten = 0
        self._dropped = 0

    def _of(self, proxy: str) -> ToxiproxyControl:
        try:
            return self._servers[proxy]
        except KeyError:
            raise BrokenError(unknown("proxy", proxy, self._servers)) from None

    def create_proxy(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> ProxyAddress:
        """On the server that was named for it."""
        return self._of(name).create_proxy(name, upstream, listen)

    def delete_proxy(self, name: str) -> None:
        """From its server."""
        self._of(name).delete_proxy(name)

    def set_upstream(self, name: str, upstream: str) -> None:
        """On its server."""
        self._of(name).set_upstream(name, upstream)

    def set_enabled(self, name: str, enabled: bool) -> None:
        """On its server."""
        self._of(name).set_enabled(name, enabled)

    def places(self, name: str) -> list[tuple[str, str]]:
        """On the proxy's server."""
        return self._of(name).places(name)

    def set_toxic(self, proxy: str, toxic: Toxic) -> None:
        """On the proxy's server."""
        self._of(proxy).set_toxic(proxy, toxic)

    def update_toxic(self, proxy: str, name: str, attributes: dict[str, int], toxicity: float | None = None) -> None:
        """On the proxy's server."""
        self._of(proxy).update_toxic(proxy, name, attributes, toxicity)

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """From the proxy's server."""
        return self._of(proxy).remove_toxic(proxy, name)

    def reset(self) -> None:
        """All servers."""
        for server in self._all:
            server.reset()

    def version(self) -> str:
        """Of the first server: all run the same program."""
        return self._all[0].version() if self._all else "without proxies"

    def set_tap(self, proxy: str, id_headers: list[str], note_headers: list[str], mirror: bool = False) -> None:
        """On the proxy's server."""
        self._of(proxy).set_tap(proxy, id_headers, note_headers, mirror)

    def remove_tap(self, proxy: str) -> None:
        """From the proxy's server."""
        self._of(proxy).remove_tap(proxy)

    def counters(self) -> dict[str, ProxyCounters]:
        """Of all proxies."""
        return {name: counters for server in self._all for name, counters in server.counters().items()}

    def events(self, since: int, flush: bool = False) -> Events:
        """Rows of all servers after the cursor ``since``."""
        with self._lock:
            open_rows: list[Connection | Exchange] = []
            for server in self._all:
                told = server.events(self._cursors[server], flush)
                self._cursors[server] = told.next
                self._dropped += told.dropped
                self._rows += told.rows
                open_rows += told.open_rows
            if len(self._rows) > 2 * KEPT:  # seldom, as it moves them all
                self._forgotten += len(self._rows) - KEPT
                del self._rows[:-KEPT]
            dropped, self._dropped = self._dropped + max(0, self._forgotten - since), 0
            rows = self._rows[max(0, since - self._forgotten) :]
            return Events(self._forgotten + len(self._rows), dropped, rows, open_rows)

    def close(self) -> None:
        """All servers."""
        for server in self._all:
            server.close()
