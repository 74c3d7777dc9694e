"""What a cluster manager does when a primary dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaoskit.clock import now
from chaoskit.errors import BrokenError

if TYPE_CHECKING:
    from chaoskit.services.providers.postgres import Postgres

RETRY = 0.2
"""Seconds until a failover that did not succeed is tried again."""


class Failover:
    """Has the replica take over once the primary has been dead for ``after`` seconds.

    First the old primary is fenced, so that there are never two; then the replica is promoted; then its clients are
    led to it, at the address that they know. What the replica has not received by then is lost.
    """

    def __init__(self, primary: Postgres, after: float, redirect: Callable[[str, str], None]) -> None:
        self._primary = primary
        self._after = after
        self._redirect = redirect
        self._cancelled = threading.Event()
        self._lock = threading.Lock()  # a death is noticed while another thread cancels
        self._threads: list[threading.Thread] = []
        self._died = 0.0

    def watch(self) -> None:
        """From now on a death matters."""
        self._cancelled.clear()

    def cancel(self) -> None:
        """From now on a death is meant. Waits until a failover that has begun is over."""
        with self._lock:
            self._cancelled.set()
            begun, self._threads = self._threads, []
        for thread in begun:
            thread.join()

    def died(self) -> None:
        """The primary has just died. Returns at once."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self._died = now()
            name = f"chaoskit-failover-{self._primary.name}"
            thread = threading.Thread(target=self._run, args=(self._died,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, died: float) -> None:
        # Another death in the meantime has a thread of its own.
        if self._cancelled.wait(self._after) or self._died != died or not self._primary.fence():
            return
        told = ""
        while not self._cancelled.is_set():
            try:
                self._take_over(died)
            except BrokenError as error:
                if not told:
                    told = str(error)
                    self._primary.event("not failed over", detail=told)
                self._cancelled.wait(RETRY)
            else:
                return

    def _take_over(self, died: float) -> None:
        primary = self._primary
        replica = primary.replica
        replica.promote()
        self._redirect(primary.name, replica.name)
        primary.event("failed over", detail=f"{replica.name} serves, {now() - died:.3f} s after the death")
