"""How a failpoint is switched off by whoever sweeps."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from chaoskit.failpoints.client import FailpointClient, FailpointError
from chaoskit.system.sockets import still_listens
from chaoskit.system.undo import register_kind


def _undo_failpoint(facts: dict[str, Any]) -> None:
    """Switch it off: {url, listens, name}. A process that is gone took it along."""
    address = urlsplit(facts["url"])
    if not still_listens(facts["url"], facts):
        return
    try:
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1.0).close()
    except ConnectionRefusedError:
        return
    try:
        FailpointClient(facts["url"]).delete(facts["name"])
    except FailpointError as error:
        raise OSError(str(error)) from error


register_kind("failpoint", _undo_failpoint)
