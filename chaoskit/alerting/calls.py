"""HTTP requests of SOPs: to allowed hosts only, straight to them, and never on to where an answer redirects."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from chaoskit.errors import ChaosError
from chaoskit.scenario.reach import OPTION

KEPT = 64 * 1024
"""Bytes of an answer that are read."""


class CallFailed(ChaosError):
    """No answer came, or the request may not be made."""


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

    def send(self, reaches: Callable[[str], bool]) -> Reply:
        """Make the request. Raises CallFailed without an answer, and for a host that ``reaches`` refuses."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise CallFailed(f"{self.url!r} is no URL: {error}") from None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise CallFailed(f"{self.url!r} is no URL of the form http://HOST[:PORT]/PATH")
        if not reaches(host):
            raise CallFailed(
                f"{host} is neither on loopback nor a service of the environment; if that is meant: {OPTION} {host}"
            )
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, port, timeout=self.timeout)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(self.method, target, self.body, dict(self.headers))
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(KEPT))
        # ValueError: a header or path that an alert's text made unfit to be sent.
        except (OSError, http.client.HTTPException, ValueError) as error:
            told = str(error) or type(error).__name__
            raise CallFailed(f"{self.method} {self.url}: no answer: {told}") from None
        finally:
            connection.close()
