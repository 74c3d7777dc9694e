"""A thread that looks at something again and again. A look that fails is counted, never fatal."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from chaoskit.base.clock import now
from chaoskit.history.rows import Row

Emit = Callable[[Row], None]
"""Takes a row of the history. Called from any thread."""


class HasPid(Protocol):
    """A service as far as its process is concerned."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def pid(self) -> int | None:
        """Its main process while it runs."""


class Watched(HasPid, Protocol):
    """A service as far as its processes are concerned."""

    @property
    def inside(self) -> tuple[str, int]:
        """Where the other services reach it: its port is the one that its program listens on."""

    @property
    def resting(self) -> bool:
        """True while an end of it is meant."""


class Observer(ABC):
    """Calls :meth:`observe` every ``interval`` seconds between :meth:`start` and :meth:`stop`.

    A look that takes longer than the interval is followed by the next at once; missed ones are left out.
    ``errors`` counts looks that failed, ``last_error`` is the latest one's text. ``emit`` may be set at any time.
    """

    def __init__(self, emit: Emit, interval: float, name: str) -> None:
        self.emit = emit
        self.interval = interval
        self.name = name
        self.errors = 0
        self.last_error: str | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def observe(self) -> None:
        """Look once, and emit what was seen. May raise."""

    def start(self) -> None:
        """Begin, with no errors counted. The first look comes at once. Has no effect while it runs."""
        if self._thread is None:
            self._stopping.clear()
            self.errors, self.last_error = 0, None
            self._thread = threading.Thread(target=self._run, name=f"chaoskit-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, once the look that is under way has ended. Has no effect when it does not run."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join()

    def failed(self, error: object) -> None:
        """Count an error."""
        self.errors += 1
        self.last_error = str(error) or type(error).__name__

    def look(self) -> None:
        """One look whose error is counted."""
        try:
            self.observe()
        except Exception as error:
            self.failed(error)

    def _run(self) -> None:
        due = now()
        while not self._stopping.is_set():
            self.look()
            due = max(due + self.interval, now())
            self._stopping.wait(due - now())
