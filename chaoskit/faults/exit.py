"""A process that ends itself in the middle of its work."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.faults._failpoint import TermFault
from chaoskit.faults._fields import Times


class Exit(TermFault):
    """Ends the process with an exit status at a place in the code, without any clean-up.

    Rehearses a fatal error that a library handles by ending the process, and what the supervisor makes of the
    status: one with ``on-failure`` does not restart after 0.

    Arguments:

    - ``service``: which one. It needs ``failpoints: true``, and chaoskit's failpoints (gofail knows no ``exit``).
    - ``at``: a failpoint's name (``orders/place``), or a function as ``module:Class.method``.
    - ``status``: 0 to 255; 1 unless given.
    - ``share``: of how many calls; 100% unless given.
    - ``times``: how often in all: 1 unless given, ``null`` for a crash loop (see ``abort``).

    A service that is not restarted stays dead until the scenario has ended; then it is started again.

    Evidence counts ``hits``: deaths with this status. Facts as those of ``panic``.
    """

    status: int = Field(1, ge=0, le=255)
    times: Times | None = 1

    kind: ClassVar[str] = "exit"

    @property
    def value(self) -> int:
        """The status."""
        return self.status

    def died_of_it(self, status: int) -> bool:
        """With this status."""
        return status == self.status
