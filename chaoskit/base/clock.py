"""One clock for the whole run: CLOCK_MONOTONIC, in seconds, the same for all processes of one machine.

The clock is system-wide on Linux, so times that the traffic worker, the embedded Toxiproxy and the engine
write down can be compared without conversion.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from chaoskit.base.errors import TimeoutExpired

T = TypeVar("T")

now = time.monotonic


def sleep_until(moment: float, cancelled: threading.Event | None = None) -> bool:
    """Wait until ``moment`` (monotonic seconds), never less. False when ``cancelled`` was set meanwhile."""
    while True:
        left = moment - now()
        if left <= 0:
            return True
        if cancelled is None:
            time.sleep(left)
        elif cancelled.wait(left):
            return False


def wait_for(
    condition: Callable[[], T | None],
    *,
    what: str,
    limit: float,
    every: float = 0.02,
    last_seen: Callable[[], str] | None = None,
    hint: str = "",
) -> T:
    """Ask ``condition`` every ``every`` seconds until it gives something true, and return that.

    Raises :class:`TimeoutExpired` after ``limit`` seconds, saying what was awaited and what was last seen.
    """
    deadline = now() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        if now() >= deadline:
            text = f"waited {limit:g} s for {what}"
            if last_seen is not None:
                text += f"; last seen: {last_seen()}"
            if hint:
                text += f". {hint}"
            raise TimeoutExpired(text)
        time.sleep(min(every, max(0.0, deadline - now())))
