"""When something happened, in words. Times with a sign count from the start of the first fault."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.history import rows as r

ZERO = "times such as +1.0 s count from the start of the first fault"


def window(started: float, ended: float, zero: float) -> str:
    """``+0.0 s to +4.0 s``; all three are moments of the monotonic clock."""
    # Adding 0 makes -0.0 a 0.0.
    first, last = (round(moment - zero, 1) + 0.0 for moment in (started, ended))
    return f"{first:+.1f} s to {last:+.1f} s"


def broke(phases: Sequence[r.Phase], requests: int) -> str:
    """How far a run came that broke: the last phase that ended, and how many requests there had been."""
    if phases:
        return f"broke after the phase {phases[-1].name}"
    return "broke in the first phase" if requests else "broke before the first request"
