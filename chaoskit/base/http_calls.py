"""HTTP for our own requests: inside the blast radius only, straight there, never on to where an answer redirects."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from chaoskit.base.blast_radius import BeyondError, BlastRadius
from chaoskit.base.errors import ChaosError

KEPT = 64 * 1024
"""Bytes of an answer that are read."""


class CallFailed(ChaosError):
    """No answer came, or the request may not be made."""


class Connection(http.client.HTTPConnection):
    """A kept connection that is opened, and opened again, inside ``radius`` only; raises BeyondError otherwise.

    ``timeout`` in seconds is for each step: connecting, each wait for data.
    """

    def __init__(self, host: str, port: int | None, timeout: float, radius: BlastRadius, *, tls: bool = False) -> None:
        self.default_port = http.client.HTTPS_PORT if tls else http.client.HTTP_PORT
        super().__init__(host, port or self.default_port, timeout=timeout)
        self._limit = timeout
        self._radius = radius
        self._tls = tls

    def connect(self) -> None:
        """Open it. Raises OSError."""
        sock = self._radius.connect(self.host, self.port, self._limit)
        if self._tls:
            import ssl

            try:
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self.host)
            except BaseException:
                sock.close()
                raise
        self.sock = sock


@dataclass(frozen=True)
class Reply:
    """An answer, whatever its status; ``body`` is the beginning of it."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def __str__(self) -> str:
        text = self.body[:200].decode("utf-8", "replace").strip()
        return f"{self.status} {text}".strip()


@dataclass(frozen=True)
class Outgoing:
    """A request; ``timeout`` in seconds is for each step of it (connecting, each wait for data)."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: float = 5.0

    @classmethod
    def of_json(cls, method: str, url: str, document: Any, **rest: Any) -> Outgoing:
        """A request with a JSON body."""
        headers = {"content-type": "application/json", **rest.pop("headers", {})}
        return cls(method, url, headers, json.dumps(document, default=str).encode(), **rest)

    def send(self, radius: BlastRadius) -> Reply:
        """Make the request. Raises CallFailed without an answer, and for a host beyond ``radius``."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise CallFailed(f"{self.url!r} is no URL: {error}") from None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise CallFailed(f"{self.url!r} is no URL of the form http://HOST[:PORT]/PATH")
        connection = Connection(host, port, self.timeout, radius, tls=parts.scheme == "https")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(self.method, target, self.body, dict(self.headers))
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(KEPT))
        except BeyondError as error:
            raise CallFailed(f"{self.method} {self.url}: {error}") from None
        # ValueError: a header or path that an alert's text made unfit to be sent.
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = str(error) or type(error).__name__
            raise CallFailed(f"{self.method} {self.url}: no answer: {told}") from None
        finally:
            connection.close()
