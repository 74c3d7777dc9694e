"""Use up the connections that a server accepts."""

from __future__ import annotations

import contextlib
import json
import math
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import AfterValidator, StrictInt, WithJsonSchema

from chaoskit.base import units
from chaoskit.base.errors import BrokenError
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, problem
from chaoskit.system.undo import lease_end

_ENTRY = 5.0
"""Seconds that entering waits for the first round of attempts."""

_END = 10.0
"""Seconds that letting go may take: an attempt that is under way is not broken off."""


def _hold(value: int | str) -> int | str:
    legal = ["a number of connections: 20", "a share of the server's limit: 90%"]
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = units.parse_ratio(value)
        except units.UnitError as error:
            raise problem(str(error), legal) from None
        if not 0 < share <= 1:
            raise problem(f"the share lies above 0% and at most at 100%, is {value}", legal)
        return value.strip()
    if isinstance(value, str):
        if not value.strip().isdecimal():
            raise problem(f"{value!r} says not how many connections", legal)
        value = int(value)
    if value < 1:
        raise problem(f"at least one connection, is {value}", legal)
    return value


Hold = Annotated[
    StrictInt | str,
    AfterValidator(_hold),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*%?\s*$"},
            ],
            "examples": [20, "90%"],
            "description": "connections, or a share of the server's limit, in %",
        }
    ),
]


class PoolExhaustion(Fault):
    """Opens connections to a server, through its proxy, and holds them without using them.

    Rehearses a neighbour that leaks connections, a deployment that doubles the number of instances, or a pool that
    is drained. Do callers wait for a bounded time, answer clearly, and recover as soon as there is room again?

    Arguments:

    - ``on``: the server. PostgreSQL gets real sessions (so they count against ``max_connections``), Redis real
      clients (``maxclients``), anything else plain TCP connections.
    - ``hold``: how many: ``20``, or a share of what the server accepts: ``90%``.
    - ``evict``: with ``true`` the sessions of all others are terminated first, and again as long as not all that
      was asked is held, so that the service must come back for new ones. Default ``false``: what the service has
      it keeps. Possible with PostgreSQL and Redis.

    While the window lasts, what was refused, or was lost since, is tried again every 50 ms. All is released at the
    end, and at the fault's lease's end where chaoskit hangs: a process of its own holds them, which ends with chaoskit.

    Evidence counts ``connections``: the most that were held at one moment. Facts: ``asked``, ``limit`` (the
    server's, null if unknown), ``held`` (the same as touched), ``held_at_end``, ``refused`` (attempts),
    ``refusal`` (the latest in words), ``lost`` (held ones that the server or a fault closed), ``evicted`` (sessions
    of others that were ended) and ``seconds`` until all that was asked was held (null if never).
    """

    on: ServiceName
    hold: Hold
    evict: bool = False

    @property
    def target(self) -> str:
        """The server."""
        return self.on

    def asked(self, limit: int | None) -> int:
        """How many connections ``hold`` means. Raises BrokenError for a share of an unknown limit."""
        if isinstance(self.hold, int):
            return self.hold
        if limit is None:
            raise BrokenError(f"{self.on} tells no limit of connections; give hold as a number")
        return max(1, math.floor(limit * units.parse_ratio(self.hold) + 1e-9))

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Take the connections on entering, release them on leaving."""
        from chaoskit.faults._holders import holder_for

        service = context.service(self.on)
        limit = service.limit()
        asked = self.asked(limit)
        host, port = context.proxied(self.on)
        url = service.url(host, port)
        if self.evict and not holder_for(url, (host, port)).can_evict:
            raise BrokenError(f"{self.on}: sessions of others can be ended in PostgreSQL and Redis only")
        evidence = Evidence(unit="connections", facts={"asked": asked, "limit": limit})
        holding = _Holding(url=url, host=host, port=port, asked=asked, evict=self.evict)
        try:
            holding.settle()
            yield evidence
        finally:
            evidence.facts |= holding.release()
            evidence.touched = evidence.facts["held"]


class _Holding:
    """The process that holds the connections, see :mod:`chaoskit.faults._pool_holder`.

    It is not journaled: with our end, whatever ends us, its standard input ends, and so does it.
    """

    def __init__(self, **order: Any) -> None:
        command, pipe = [sys.executable, "-m", "chaoskit.faults._pool_holder"], subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: release() tells
            self._process.stdin.write(json.dumps({**order, "until": lease_end()}).encode() + b"\n")
            self._process.stdin.flush()

    def settle(self) -> None:
        """Wait until the first round of attempts is over."""
        poll = select.poll()
        assert self._process.stdout is not None
        poll.register(self._process.stdout, select.POLLIN)
        poll.poll(_ENTRY * 1000)

    def release(self) -> dict[str, Any]:
        """Let go of everything, and give the facts. Raises BrokenError when there are none."""
        with self._process:  # closes its pipes also when we are interrupted while we wait
            try:
                output, words = self._process.communicate(timeout=_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
                output, words = self._process.communicate()
        try:
            facts: dict[str, Any] = json.loads(output.splitlines()[-1])
            facts["held"]
        except (IndexError, KeyError, ValueError):
            last = words.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise BrokenError(f"the process that held the connections broke down: {last[0]}") from None
        return facts
