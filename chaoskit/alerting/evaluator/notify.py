"""Telling Alertmanager. One that does not answer loses what it was told, as with Prometheus, until it is told again."""

from __future__ import annotations

import http.client
import json
import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

LIMIT = 5.0
"""Seconds that an Alertmanager may take to answer."""
MOST = 64
"""Alerts in one message."""

_log = logging.getLogger("chaoskit.evaluator")


class Notifier:
    """Sends to one URL, in order, from a thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=10_000)
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=f"notify-{self.url}", daemon=True).start()

    def send(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Have these told, soon."""
        for alert in alerts:
            try:
                self._waiting.put_nowait(alert)
            except queue.Full:
                _log.warning("too many alerts are waiting to be told to %s: one is dropped", self.url)

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < MOST and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            self._post(json.dumps(batch).encode())

    def _post(self, body: bytes) -> None:
        for attempt in (1, 2):
            try:
                self._connection.request("POST", self._path, body, {"content-type": "application/json"})
                answer = self._connection.getresponse()
                answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                if attempt == 1:
                    continue  # a connection that was kept open may have been closed meanwhile
                _log.warning("Error sending alert to %s: %r", self.url, error)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                _log.warning("Error sending alert to %s: %r", self.url, error)
            else:
                if not 200 <= answer.status < 300:
                    _log.warning("Error sending alert to %s: bad response status %s", self.url, answer.status)
            return
