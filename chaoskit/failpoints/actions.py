"""What the types of a term do."""

from __future__ import annotations

import _thread
import os
import sys
import time

from chaoskit.failpoints.terms import sleep_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from chaoskit.failpoints.active import Active
    from chaoskit.failpoints.terms import Term


class Panic(RuntimeError):
    """Raised where a ``panic`` term acts. Its text is gofail's: ``failpoint panic: VALUE`` (or the name)."""


class Returned:
    """A ``return`` term acted: the code at the failpoint decides what to do with ``value``."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Returned({self.value!r})"


def act(active: Active, term: Term) -> Returned | None:
    """Carry out a term in this thread. Raises Panic."""
    if term.kind == "sleep":
        time.sleep(sleep_seconds(term.value))
    elif term.kind == "hang":
        _hang(active)
    else:
        return _at_once(active, term)
    return None


async def act_async(active: Active, term: Term) -> Returned | None:
    """The same, without blocking asyncio's event loop. Under any other event loop it blocks. Raises Panic."""
    if term.kind not in ("sleep", "hang"):
        return _at_once(active, term)
    import asyncio
    from contextlib import suppress

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return act(active, term)
    done = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(finish)

    if term.kind == "sleep":
        timer = loop.call_later(sleep_seconds(term.value), finish)
        try:
            await done
        finally:
            timer.cancel()
    else:
        active.on_release(wake)
        try:
            await done
        finally:
            active.forget(wake)
    return None


def _hang(active: Active) -> None:
    """Block this thread until the failpoint is switched off."""
    # A lock of C, not threading.Event: also a function that Event uses may be the failpoint.
    gate = _thread.allocate_lock()
    gate.acquire()
    active.on_release(gate.release)
    try:
        gate.acquire()
    finally:
        active.forget(gate.release)


def _at_once(active: Active, term: Term) -> Returned | None:
    if term.kind == "return":
        return Returned(_fresh(term.value))
    if term.kind == "panic":
        text = active.name if term.value is None else _text(term.value)
        raise Panic(f"failpoint panic: {text}")
    if term.kind == "print":
        sys.stdout.write(f"failpoint print: {active.name}\n")
        sys.stdout.flush()
    elif term.kind == "break":
        breakpoint()
    elif term.kind == "abort":
        _last_words(f"failpoint abort: {active.name}")
        os.abort()
    elif term.kind == "exit":
        status = 1 if term.value is None else term.value
        _last_words(f"failpoint exit({status}): {active.name}")
        os._exit(status)
    return None


def _fresh(value: Any) -> Any:
    """A copy: the code under test may change what it was given."""
    if isinstance(value, list):
        return [_fresh(item) for item in value]
    if isinstance(value, dict):
        return {key: _fresh(item) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False)


def _last_words(text: str) -> None:
    """To standard error past all buffers: nothing of the process runs after this."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return  # standard error is closed; ending the process matters more
