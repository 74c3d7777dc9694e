"""Restarts a service after a death nobody ordered, as systemd or Kubernetes would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

BACK_OFF = 0.1
"""Seconds between a death and the restart."""

REVIVALS = 20
"""Restarts until it gives up; counted anew for each scenario."""


class Supervisor:
    """Calls ``revive`` on a thread of its own some time after a death, as ``policy`` says.

    It rests until :meth:`watch`. ``revive`` must ask :attr:`resting` again once it holds the service's lock.
    """

    def __init__(self, policy: Literal["never", "on-failure", "always"], name: str, revive: Callable[[], None]) -> None:
        self._policy = policy
        self._name = name
        self._revive = revive
        self._rest = threading.Event()
        self._rest.set()
        self._revivals = 0

    @property
    def resting(self) -> bool:
        """True while a death is meant: nothing is restarted."""
        return self._rest.is_set()

    def watch(self) -> None:
        """From now on a death is unexpected."""
        self._rest.clear()

    def rest(self) -> None:
        """From now on a death is meant. Cancels a restart that waits for its back-off."""
        self._rest.set()

    def reset(self) -> None:
        """Count restarts from 0 again."""
        self._revivals = 0

    def died(self, status: int) -> bool:
        """Take note of a death with its exit status. False when it should be restarted but was too often."""
        if self.resting or self._policy == "never" or (self._policy == "on-failure" and status == 0):
            return True
        if self._revivals >= REVIVALS:
            return False
        self._revivals += 1
        threading.Thread(target=self._run, name=f"chaoskit-revive-{self._name}", daemon=True).start()
        return True

    def _run(self) -> None:
        if not self._rest.wait(BACK_OFF):
            self._revive()
