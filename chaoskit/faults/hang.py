"""A place in the code from which nobody returns."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._failpoint import TermFault


class Hang(TermFault):
    """Makes calls hang until the window ends; then they go on as if nothing had been.

    Rehearses a deadlock, a lock that is not released, a driver without a time limit: are waiters bounded, is the
    work given up by its deadline, do threads and tasks return to where they were?

    Arguments:

    - ``service``: which one. It needs ``failpoints: true``, and chaoskit's failpoints (gofail knows no ``hang``).
    - ``at``: a failpoint's name (``orders/place``), or a function as ``module:Class.method``.
    - ``share``: of how many calls; 100% unless given.
    - ``times``: how often in all; as often as it is called unless given.
    - ``until_restart``: it belongs to the process, as a state that went wrong does: one that is started anew is free
      of it. Otherwise it is set again there.

    While it lasts no other fault may begin at the same place.

    Evidence counts ``hits``: calls that hung. Facts as those of ``panic``.
    """

    until_restart: bool = False

    kind: ClassVar[str] = "hang"

    def interrupted(self) -> str:
        """What hangs cannot be kept."""
        return f"what hangs at {self.at} would go on too early"

    @property
    def follows(self) -> bool:
        """Not into another process when it belongs to this one."""
        return not self.until_restart
