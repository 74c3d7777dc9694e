"""How to start the embedded Toxiproxy, and how to learn where it listens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection


def server_command(port: int = 0, seed: int | None = None, upstreams: Collection[str] | None = None) -> list[str]:
    """The command line of an embedded server on 127.0.0.1; port 0 takes a free one.

    The server ends by itself when the calling process ends. The same ``seed`` gives the same toxicity, jitter
    and slices for the same connections. Proxies lead to loopback and to ``upstreams`` only; anywhere where it is None.
    """
    command = [sys.executable, "-m", "chaoskit.toxiproxy.server", "-host", "127.0.0.1", "-port", str(port)]
    if seed is not None:
        command += ["-seed", str(seed)]
    if upstreams is not None:
        command.append(f"-upstreams={','.join(sorted(upstreams))}")
    return [*command, f"-exit-with-parent={os.getpid()}"]


def address_in(log_line: str) -> tuple[str, int] | None:
    """Host and port of the API, when ``log_line`` is the one that tells them; None for any other line."""
    if "Starting Toxiproxy HTTP server" not in log_line:
        return None
    try:
        fields = json.loads(log_line)
        host, port = fields["host"], fields["port"]
    except (ValueError, KeyError, TypeError):
        return None
    return (host, port) if isinstance(host, str) and isinstance(port, int) else None
