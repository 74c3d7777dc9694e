"""What to do about a verdict that says nothing: one line for whoever sees it for the first time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaoskit.expectations.base import Outcome

if TYPE_CHECKING:
    from chaoskit.engine.verdict import Verdict

_PAGE = "docs/verdicts.md"
_TOO_FEW = re.compile(r"\b(?:is|are) needed$")


def hint(verdict: Verdict) -> str:
    """What to do about a vacuous verdict; empty for any other."""
    if verdict.outcome is not Outcome.VACUOUS:
        return ""
    failed = [judged.finding for judged in verdict.failed()]
    if any(found.id.startswith("steady_state.") for found in failed):
        return f"nothing was tested: the service was not well before the first fault; mend that first ({_PAGE})"
    if not verdict.faults:
        return f"nothing was tested: no fault was injected; put one under timeline.faults ({_PAGE})"
    untouched = [fault for fault in verdict.faults if not fault.touched]
    if untouched:
        name, target = untouched[0].name, untouched[0].target
        return (
            f"nothing was tested: {name} touched nothing; does traffic of this scenario reach {target} while the "
            f"fault lasts? ({_PAGE}#evidence)"
        )
    if failed and _TOO_FEW.search(failed[0].seen):
        return f"too little was seen: raise the rate, or let the fault last longer ({_PAGE}#needed-samples)"
    return f"nothing was there to judge: make the finding below come about, or do not ask for it ({_PAGE})"
