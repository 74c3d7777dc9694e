"""Is a service ready? Each check asks once and gives what it saw; an empty text means ready."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.base.units import format_duration
from chaoskit.system.pids import describe_exit

ONCE = 1.0
"""Seconds that one check may take."""


def http_answers(host: str, port: int, path: str, *, method: str = "GET", limit: float = ONCE) -> str:
    """Ready when the path answers 2xx."""
    connection = http.client.HTTPConnection(host, port, timeout=limit)
    try:
        connection.request(method, path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{method} {path}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"{method} {path}: status {status}"


def tcp_open(host: str, port: int) -> str:
    """Ready when a connection is accepted."""
    try:
        socket.create_connection((host, port), timeout=ONCE).close()
    except OSError as error:
        return f"port {port}: {error}"
    return ""


def await_ready(
    name: str,
    *,
    check: Callable[[], str],
    exit_status: Callable[[], int | None],
    last_lines: Callable[[], list[str]],
    limit: float,
) -> None:
    """Ask ``check`` until it is content: every 10 ms at first, every 50 ms later, as checks fill the service's log.

    Raises BrokenError after ``limit`` seconds, or at once when the service died.
    """
    deadline, every = now() + limit, 0.01
    while True:
        seen = check()
        if not seen:
            return
        status = exit_status()
        if status is not None:
            raise BrokenError(_explain(f"{name} ended before it was ready: {describe_exit(status)}", last_lines()))
        if now() >= deadline:
            what = f"{name} was not ready within {format_duration(limit)}; last seen: {seen}"
            raise BrokenError(_explain(f"{what}. It still runs: is its port or readiness check right?", last_lines()))
        time.sleep(every)
        every = min(every * 1.2, 0.05)


def _explain(what: str, lines: list[str]) -> str:
    if not lines:
        return f"{what}\n  It wrote nothing."
    return "\n  ".join([f"{what}\n  Its last lines:", *lines[-15:]])
