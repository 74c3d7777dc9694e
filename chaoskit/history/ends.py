"""Processes of services that ended though nothing in the scenario made them end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from chaoskit.history import rows as r
from chaoskit.history.store import History

LINGER = 1.0
"""Seconds after a fault was lifted, or an SOP was done, in which what they made end may still be ending."""

DiedOf = Callable[[r.Fault, r.Event], bool]
"""Whether a fault, while it lasted, may have brought about the end that an event tells."""


def unasked(history: History, died_of: DiedOf) -> list[r.Event]:
    """Their exits, in order.

    An end is meant when we asked for it or had sent a signal; when a fault that ends its target struck it; after an SOP
    that names the service; and after a team's own SOP platform was asked, as nobody knows what that did. A fault on
    the proxy before a service, or on what it depends on, is no reason to end. Who ends without being there again since
    it ended last (a shell after the program that it had started) has ended once.
    """
    events = sorted(history.rows(r.Event), key=lambda event: event.at)
    faults, runs = history.rows(r.Fault), [run for run in history.rows(r.SopRun) if run.started is not None]
    killed: set[tuple[str, int | None]] = set()
    struck: set[str] = set()  # by a signal, which went to all their processes
    down: set[str] = set()
    found = []
    for event in events:
        if event.what == "killed":
            killed.add((event.service, event.pid))
            struck.add(event.service)
        elif event.what in ("started", "restarted", "ready"):
            struck.discard(event.service)
            down.discard(event.service)
        if event.what != "exited" or event.service in down:
            continue
        down.add(event.service)
        if (
            event.detail != r.ASKED
            and (event.service, event.pid) not in killed
            and not (event.code is None and event.service in struck)
            and not any(row.started <= event.at <= row.ended + LINGER and died_of(row, event) for row in faults)
            and not _by_sop(event, runs)
        ):
            found.append(event)
    return found


def _by_sop(event: r.Event, runs: Iterable[r.SopRun]) -> bool:
    for run in runs:
        assert run.started is not None
        if run.runner != "chaoskit":
            over, named = math.inf, True
        else:
            over = math.inf if run.ended is None else run.ended + LINGER
            named = event.service in {run.target_service, *(step.get("target") for step in run.steps)}
        if named and run.started <= event.at <= over:
            return True
    return False
