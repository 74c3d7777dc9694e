"""How containers, networks and volumes are undone: by name, and as often as one likes."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from typing import Any

from chaoskit.base.clock import now
from chaoskit.services.docker.daemon import ConflictError, MissingError, Refused, asking, at, client, host
from chaoskit.system.journal import Journal
from chaoskit.system.pids import identify
from chaoskit.system.undo import Facts, Undo, register_kind

IN_FLIGHT = 2.0
"""Seconds after its journal entry in which what is not there may yet come: asked for, by a process that then died."""

LIMIT = 15.0
"""Seconds that a removal may take."""


def labels(journal: Journal) -> dict[str, str]:
    """What marks everything of ours on the daemon: the run, and its owner (pid and start time)."""
    owner = identify(os.getpid())
    assert owner is not None
    return {"chaoskit.run": journal.run_id, "chaoskit.owner": f"{owner.pid}:{owner.start}"}


def add(journal: Journal, kind: str, name: str) -> int:
    """Write down what is about to be made."""
    return journal.add(kind, name=name, at=now(), host=where())


def where() -> str:
    """Which daemon that is, for each entry about something of it. Raises BrokenError for another machine's."""
    return host()


def there(undo: Undo) -> Undo:
    """``undo`` on the daemon that the entry names: whoever sweeps may have other settings of Docker.

    A daemon that does not answer is a BrokenError, so the entry stays. One of an older version, which names none, is
    undone where those settings say.
    """

    @functools.wraps(undo)
    def on_its_daemon(facts: Facts) -> None:
        with at(facts.get("host")):
            undo(facts)

    return on_its_daemon


def _undo(find: Callable[[str], Any], remove: Callable[[Any], None]) -> Callable[[Facts], None]:
    def undo(facts: Facts) -> None:
        name, asked = str(facts["name"]), float(facts["at"])
        deadline = now() + LIMIT
        while True:
            try:
                with asking(f"remove {name}"):
                    remove(find(name))
                asked = -IN_FLIGHT  # it was there, so nothing is on its way any more; gone is what nobody finds
                continue
            except MissingError:
                if not asked <= now() < asked + IN_FLIGHT:
                    return
            except ConflictError:
                if now() > deadline:
                    raise
            time.sleep(0.05)

    return undo


def remove_network(network: Any) -> None:
    """With whatever still hangs on it, which can only be ours."""
    for container in network.attrs.get("Containers") or {}:
        network.disconnect(container, force=True)
    network.remove()


def _unpause(facts: Facts) -> None:
    """Let a container go on; one that goes on, or is gone, needs nothing."""
    try:
        with contextlib.suppress(ConflictError, MissingError), asking(f"unpause {facts['name']}"):
            client().api.unpause(facts["id"])
    except Refused as error:  # older daemons answer 500 here
        if "not paused" not in str(error):
            raise


_undo_container = _undo(lambda name: client().containers.get(name), lambda it: it.remove(force=True, v=True))
_undo_network = _undo(lambda name: client().networks.get(name), remove_network)
_undo_volume = _undo(lambda name: client().volumes.get(name), lambda it: it.remove(force=True))

register_kind("pause", there(_unpause))
register_kind("container", there(_undo_container), lasting=True)
register_kind("network", there(_undo_network), lasting=True)
register_kind("volume", there(_undo_volume), lasting=True)
