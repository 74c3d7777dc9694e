"""Calls an async Python function in place of an HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from chaoskit.traffic.answer import Answer, error_name
from chaoskit.traffic.prepare import Prepared

Done = Callable[[Answer], None]


class PythonDriver:
    """Runs calls as tasks of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, request: Prepared, timeout: float, done: Done) -> None:
        """Call now; ``done`` is called once, after at most ``timeout`` seconds."""
        task = self._loop.create_task(self._run(request, timeout, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cancel every call; nothing is reported for them."""
        for task in list(self._tasks):
            task.cancel()

    async def _run(self, request: Prepared, timeout: float, done: Done) -> None:  # noqa: ASYNC109 - of the request
        assert request.call is not None
        try:
            value = await asyncio.wait_for(request.call(), timeout)
            body = b"" if value is None else msgspec.json.encode(value, enc_hook=str)
        # The function is the user's: whatever it raises is the outcome of this request.
        except Exception as error:
            done(Answer(error=error_name(error)))
            return
        done(Answer(body=body, size=len(body), value=value))
