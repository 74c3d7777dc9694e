"""How changes on a Toxiproxy server are undone by whoever sweeps: plain HTTP, and nothing that takes long to import."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

from chaoskit.system.sockets import still_listens
from chaoskit.system.undo import register_kind

_LIMIT = 5.0
"""Seconds that the server may take."""


def _undo_toxic(facts: dict[str, Any]) -> None:
    """Remove a toxic: {url, listens, proxy, name}."""
    path = f"/proxies/{quote(facts['proxy'], safe='')}/toxics/{quote(facts['name'], safe='')}"
    _ask("DELETE", facts["url"], path, facts)


def _undo_disabled(facts: dict[str, Any]) -> None:
    """Enable the proxies that were disabled together, the one nearest to the service first: {name, listens, places}."""
    for url, name in facts["places"]:
        _ask("POST", url, f"/proxies/{quote(name, safe='')}", facts, {"enabled": True})


def _ask(method: str, url: str, path: str, facts: dict[str, Any], body: object = None) -> None:
    """One request, to who listened there when ``facts`` were written. A server, proxy or toxic that is gone took the
    change with it; all else raises OSError."""
    if not still_listens(url, facts):
        return
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=_LIMIT)
    headers = {"Authorization": f"Bearer {address.password}"} if address.password else {}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace").strip()
    except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
        return
    except http.client.HTTPException as error:
        raise OSError(f"{method} {url}{path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status >= 400 and answer.status != 404:
        raise OSError(f"{method} {url}{path}: {answer.status} {text}")


register_kind("toxic", _undo_toxic)
register_kind("disabled", _undo_disabled)
