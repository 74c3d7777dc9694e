"""Work that a fault does beside the scenario while its window lasts."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class Background:
    """Runs ``work(stopped)`` in a thread of its own, from now until :meth:`stop`.

    ``work`` returns soon after ``stopped`` is set. What it raises is kept for :meth:`check`: a fault that broke
    down in the background is broken, and its cure must come first. What it journals ends with the fault's lease.
    """

    def __init__(self, name: str, work: Callable[[threading.Event], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self.stopped = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=f"chaoskit: {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self.stopped)
        except BaseException as error:  # handed to check(), in the thread that can act on it
            self._error = error

    def stop(self) -> None:
        """Tell the work to end and wait until it has."""
        self.stopped.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what the work raised, if it did."""
        if self._error is not None:
            raise self._error
