"""A panic in one unit of work."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._failpoint import TermFault


class Panic(TermFault):
    """Makes a place in the code panic: an exception nobody expects in Python, a real panic in Go.

    Rehearses recovery: only the poisoned request fails, with an answer that tells nothing of the inside; the
    process, its other requests and its background tasks live on; the panic is logged, counted and alerted.

    Arguments:

    - ``service``: which one. It needs ``failpoints: true`` in the environment.
    - ``at``: a failpoint's name (``orders/place``), or any function of a Python service that runs under
      chaoskit's agent, as ``module:Class.method``.
    - ``message``: the panic's text.
    - ``share``: of how many calls; 100% unless given.
    - ``times``: how often in all; as often as it is called unless given.
    - ``until_restart``: it belongs to the process, as a state that went wrong does: one that is started anew is free
      of it. Otherwise it is set again there.

    Evidence counts ``hits``, over all processes that the service had in the window: it is set again in one that
    was started anew. Facts: ``terms`` (gofail's), ``deaths`` (exit statuses of processes that died of it) and
    ``processes`` (in how many it was set). Hits of the last tenth of a second before a death may be missing.
    """

    message: str = "injected by chaoskit"
    until_restart: bool = False

    kind: ClassVar[str] = "panic"

    @property
    def value(self) -> str:
        """The text."""
        return self.message

    @property
    def follows(self) -> bool:
        """Not into another process when it belongs to this one."""
        return not self.until_restart
