"""Lines for the engine, written to a pipe in batches and never blocking the loop."""

from __future__ import annotations

import asyncio
import os

EVERY = 0.03
"""Seconds between writes."""


class Outbox:
    """Collects bytes and writes them to ``fd``, which is made non-blocking."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._blocked = False
        os.set_blocking(fd, False)

    def put(self, line: bytes) -> None:
        """Have ``line`` (with its line end) written within :data:`EVERY` seconds."""
        self._buffer += line
        if self._timer is None and not self._blocked:
            self._timer = self._loop.call_later(EVERY, self.flush)

    def flush(self) -> None:
        """Write what fits into the pipe now; the rest follows as the reader makes room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._buffer:
            try:
                written = os.write(self._fd, self._buffer)
            except BlockingIOError:
                if not self._blocked:
                    self._blocked = True
                    self._loop.add_writer(self._fd, self.flush)
                return
            except BrokenPipeError:
                self._loop.stop()  # nobody listens any more
                return
            del self._buffer[:written]
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._fd)
