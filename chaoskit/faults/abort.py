"""A process that dies in the middle of its work."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._failpoint import TermFault
from chaoskit.faults._fields import Times


class Abort(TermFault):
    """Aborts the process (SIGABRT) at a place in the code, half-way through the work it was doing.

    Rehearses a crash at the worst moment: is accepted work lost or done twice, are locks left behind, does the
    supervisor bring the service back, do callers live through it?

    Arguments:

    - ``service``: which one. It needs ``failpoints: true``, and chaoskit's failpoints (gofail knows no ``abort``;
      a Go service that does not recover dies of ``panic``).
    - ``at``: a failpoint's name (``orders/place``), or a function as ``module:Class.method``.
    - ``share``: of how many calls; 100% unless given.
    - ``times``: how often in all: 1 unless given. ``null`` for a crash loop: it is set again in each process that
      the supervisor starts, as long as the window lasts.

    A service whose restart policy is ``never`` stays dead until the scenario has ended; then it is started again.

    Evidence counts ``hits``: deaths by SIGABRT. Facts as those of ``panic``.
    """

    times: Times | None = 1

    kind: ClassVar[str] = "abort"

    def died_of_it(self, status: int) -> bool:
        """By SIGABRT."""
        return status == -6
