"""Failures inside a Python process, in gofail's term language and behind gofail's HTTP API.

Two ways to have a failpoint: a line in the code ::

    if (hit := failpoint("orders/charge")) is not None:
        return hit.value

or any function by name, ``shop.orders:Orders.charge``, when the process is started with
``python -m chaoskit.failpoints.agent`` (or imports this package with ``CHAOSKIT_FAILPOINTS_AGENT=1``).

Read from the environment when this is imported:

- ``GOFAIL_HTTP`` or ``CHAOSKIT_FAILPOINTS_HTTP``: ``127.0.0.1:PORT`` to serve the API at. Loopback only.
- ``GOFAIL_FAILPOINTS`` or ``CHAOSKIT_FAILPOINTS``: ``name=terms;name=terms`` to begin with.
- ``CHAOSKIT_FAILPOINTS_SEED``: any text; percentages then fall the same way in every run.

A service imports this on its own: it needs the standard library only, and nothing else of chaoskit.
"""

from __future__ import annotations

from chaoskit.failpoints.actions import Panic, Returned
from chaoskit.failpoints.errors import BadTerms, DisabledFailpoint, FailpointsError, UnknownFailpoint
from chaoskit.failpoints.points import POINTS, afailpoint, failpoint

__all__ = [
    "BadTerms",
    "DisabledFailpoint",
    "FailpointsError",
    "Panic",
    "Returned",
    "UnknownFailpoint",
    "afailpoint",
    "disable",
    "enable",
    "failpoint",
    "hits",
    "register",
]


def register(name: str) -> str:
    """Make ``name`` known to the API before it is first evaluated; returns it, so that it can be a constant."""
    POINTS.register(name)
    return name


def enable(name: str, terms: str) -> None:
    """Switch a known failpoint on. Raises UnknownFailpoint, BadTerms."""
    POINTS.set({name: terms})


def disable(name: str) -> None:
    """Switch a failpoint off; whatever hangs in it goes on. Raises UnknownFailpoint, DisabledFailpoint."""
    POINTS.unset(name)


def hits(name: str) -> int:
    """How often a term of the active failpoint was chosen since it was set, ``off`` included (as in gofail).

    Raises UnknownFailpoint, DisabledFailpoint.
    """
    return POINTS.status(name)[1]


def _start() -> None:
    import os
    import sys

    asked = any(name.startswith(("GOFAIL_", "CHAOSKIT_FAILPOINTS")) for name in os.environ)
    # The agent starts everything itself, once the program's own modules can be found.
    if asked and "chaoskit.failpoints.agent" not in sys.orig_argv:
        from chaoskit.failpoints.environment import start

        start(by_name=os.environ.get("CHAOSKIT_FAILPOINTS_AGENT") == "1")


_start()
