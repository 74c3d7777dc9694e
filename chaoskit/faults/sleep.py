"""A place in the code that takes its time."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.faults._failpoint import TermFault
from chaoskit.faults._fields import SomeMicros, micros, millis


class Sleep(TermFault):
    """Makes calls take longer, inside the process, whatever the network does.

    Rehearses slow code: a job that outlives its period, a lock held too long, a request that passes its deadline
    half-way through.

    Arguments:

    - ``service``: which one. It needs ``failpoints: true`` in the environment.
    - ``at``: a failpoint's name (``orders/place``), or a function as ``module:Class.method``.
    - ``delay``: how much longer (``200ms``), to the microsecond.
    - ``share``: of how many calls; 100% unless given.
    - ``times``: how often in all; as often as it is called unless given.
    - ``until_restart``: it belongs to the process, as a state that went wrong does: one that is started anew is free
      of it. Otherwise it is set again there.

    Evidence counts ``hits``: calls that were delayed. Facts as those of ``panic``.
    """

    delay: SomeMicros

    until_restart: bool = False

    kind: ClassVar[str] = "sleep"

    @property
    def value(self) -> int | str:
        """Whole milliseconds where that is exact, else Go's duration text."""
        exact = micros(self.delay) % 1000 == 0
        return millis(self.delay) if exact else f"{micros(self.delay)}us"

    @property
    def follows(self) -> bool:
        """Not into another process when it belongs to this one."""
        return not self.until_restart
