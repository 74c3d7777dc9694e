"""How a project is undone: whatever bears its name as Compose's label, and as often as one likes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from chaoskit.base.clock import now
from chaoskit.services.docker.daemon import ConflictError, MissingError, Refused, asking, client
from chaoskit.services.docker.undo import IN_FLIGHT, LIMIT, remove_network, there
from chaoskit.system.undo import Facts, register_kind

KIND = "compose"
"""Facts: the project's ``name``, the daemon's ``host``; ``making``: the Compose tool may be at it."""


def _undo(facts: Facts) -> None:
    """Until nothing is left, and nothing comes any more that was asked for by a tool that was killed meanwhile."""
    chosen = {"label": f"com.docker.compose.project={facts['name']}"}
    deadline = now() + LIMIT
    quiet = now() + (IN_FLIGHT if facts.get("making") else 0.0)
    while True:
        left = _sweep(chosen)
        if not left and now() >= quiet:
            return
        if left and now() > deadline:
            raise left
        time.sleep(0.05)


def _sweep(chosen: dict[str, str]) -> Exception | None:
    """Remove what is there; gives what kept something from being removed."""
    docker = client()
    kept: Exception | None = None
    kinds: list[tuple[Any, dict[str, Any], Callable[[Any], None]]] = [
        (docker.containers, {"all": True, "ignore_removed": True}, lambda it: it.remove(force=True, v=True)),
        (docker.networks, {"greedy": True}, remove_network),
        (docker.volumes, {}, lambda it: it.remove(force=True)),
    ]
    for kind, more, remove in kinds:
        try:
            with asking(f"list what is left of {chosen['label']}"):
                found = kind.list(filters=chosen, **more)
        except MissingError as error:  # one went while they were looked at
            kept = error
            continue
        for one in found:
            try:
                with asking(f"remove {one.name}"), contextlib.suppress(MissingError):
                    remove(one)
            except (ConflictError, Refused) as error:  # being removed already; something hangs on it
                kept = error
    return kept


register_kind(KIND, there(_undo), lasting=True)
