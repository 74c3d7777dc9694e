"""An asyncio loop whose timers are exact to a fraction of a millisecond.

The standard loop waits in ``epoll``, whose limit is rounded up to whole milliseconds. Here the epoll object
itself is waited for with ``select``, which takes microseconds. Timers never fire early.
"""

from __future__ import annotations

import asyncio
import select
import selectors


class PreciseSelector(selectors.EpollSelector):
    """epoll, waited for with the precision of ``select``."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Ready keys and their events, after at most ``timeout`` seconds (None: no limit)."""
        if timeout is None:
            return super().select(None)
        if timeout > 0:
            # The epoll object is made first of all, so its number stays below select's limit of 1024.
            select.select([self], [], [], timeout)
        return super().select(0)


def precise_loop() -> asyncio.SelectorEventLoop:
    """A new event loop with precise timers."""
    return asyncio.SelectorEventLoop(PreciseSelector())
