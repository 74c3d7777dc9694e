"""Whether what a link leads to answers: asked directly, on this machine or on a host that was allowed."""

from __future__ import annotations

import http.client
from collections.abc import Collection
from urllib.parse import urlsplit

from chaoskit.errors import BrokenError
from chaoskit.scenario.reach import OPTION, is_inside

LIMIT = 5.0
"""Seconds that an answer may take."""


def status_of(url: str, allowed: Collection[str] = ()) -> int:
    """The status of a GET; a redirect is an answer and is not followed.

    Raises BrokenError for what is no HTTP link, for a host beyond the blast radius, and when no answer comes.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BrokenError(f"{url!r} is no link: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise BrokenError(f"{url!r} is no link: it must begin with http:// or https:// and a host")
    if not is_inside(host, allowed):
        raise BrokenError(f"{url} leads to {host}, which is beyond the blast radius; if that is meant: {OPTION} {host}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=LIMIT)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BrokenError(f"{url} does not answer: {type(error).__name__}: {error}") from None
    finally:
        connection.close()
