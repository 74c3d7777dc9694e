"""The connections of ``pool_exhaustion``, in a process of their own: ``python -m chaoskit.faults._pool_holder ORDER``.

Connections are let go by whoever holds them. So the holder is no part of the engine: it lets go when its standard
input ends (the engine asks for that, or has died) and at its lease's end (the engine hangs). It writes two JSON
lines: one when the window may open, and its facts at the end.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from chaoskit.base.clock import now
from chaoskit.faults._holders import Holder, holder_for

_RETRY = 0.05
"""Seconds until the next attempt after a refused one, and between two looks at what is held."""

_EVICTION = 2.0
"""Seconds that the window's beginning waits for the places of those that were evicted."""


class Siege:
    """Holds connections, as many as asked where possible. ``settled`` is called once the window may open."""

    def __init__(self, holder: Holder, asked: int, *, evict: bool) -> None:
        self._holder = holder
        self._asked = asked
        self._evict = evict
        self._began = now()
        self._held: list[Any] = []
        self._most = self._at_end = 0
        self._refused = self._lost = self._evicted = 0
        self._refusal: str | None = None
        self._seconds: float | None = None
        self._settled = False

    def run(self, stopped: threading.Event, until: float | None) -> None:
        """Take and keep until told to stop, or until the lease's end; then release everything."""
        try:
            while not stopped.is_set() and (until is None or now() < until):
                self._drop_lost()
                if self._evict and self._seconds is None:
                    self._fill(1, stopped)  # one must be in to put others out
                    self._evicted += self._holder.evict(self._held)
                self._fill(self._asked, stopped)
                if not self._evict or self._seconds is not None or now() > self._began + _EVICTION:
                    self._settle()
                stopped.wait(_RETRY)
            self._drop_lost()
        finally:
            self._at_end = len(self._held)
            for connection in self._held:
                self._holder.close(connection)

    def _settle(self) -> None:
        if not self._settled:
            self._settled = True
            _say({"settled": True})

    def _fill(self, number: int, stopped: threading.Event) -> None:
        while len(self._held) < number and not stopped.is_set():
            try:
                self._held.append(self._holder.open())
            except OSError as error:
                self._refused += 1
                self._refusal = str(error)
                return
            self._most = max(self._most, len(self._held))
        if len(self._held) == self._asked and self._seconds is None:
            self._seconds = round(now() - self._began, 3)

    def _drop_lost(self) -> None:
        for connection in [one for one in self._held if not self._holder.alive(one)]:
            self._held.remove(connection)
            self._holder.close(connection)
            self._lost += 1

    def facts(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "held": self._most,
            "held_at_end": self._at_end,
            "refused": self._refused,
            "refusal": self._refusal,
            "lost": self._lost,
            "evicted": self._evicted,
            "seconds": self._seconds,
        }


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(order: dict[str, Any]) -> None:
    """Do what ``order`` says, until our standard input ends: {url, host, port, asked, evict, until}."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; the engine decides
    stopped = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    holder = holder_for(order["url"], (order["host"], order["port"]))
    siege = Siege(holder, order["asked"], evict=order["evict"])
    siege.run(stopped, order["until"])
    _say(siege.facts())


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))  # a command line, and the password in a URL, could be read by everybody
