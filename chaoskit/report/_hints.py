"""What else is to be known of a verdict, and what to do about it: for whoever sees it for the first time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from chaoskit.base.units import counted
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.report._moments import broke

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.judge.verdict import Judged, Verdict
    from chaoskit.language.scenario import Scenario

_PAGE = "docs/verdicts.md"
_TOO_FEW = re.compile(r"\b(?:is|are) needed$")


def circumstances(result: Result) -> Iterator[str]:
    """Lines below the reason: requests that were not sent; how far a broken run came; what to do, if known."""
    verdict, history = result.verdict, result.history
    if unsent := sum(schedule.unsent for schedule in history.rows(r.Schedule)):
        count = counted(unsent, "requests")
        yield f"{count} could not be sent, as too many waited for an answer (in_flight: of the traffic)"
    if verdict.outcome is Outcome.BROKEN:
        if _unread(verdict):
            yield "the run itself came to its end, but this could not be evaluated: it says nothing about the service"
        elif not history.rows(r.Schedule):  # which is written when all phases are over
            yield broke(history.rows(r.Phase), verdict.samples)
    if told := _hint(verdict, result.scenario):
        yield f"what to do: {told}"


def _unread(verdict: Verdict) -> list[Judged]:
    """Findings that could not be judged. There are none where the run broke: then nothing was judged."""
    return [judged for judged in verdict.failed() if judged.finding.outcome is Outcome.BROKEN]


def _hint(verdict: Verdict, scenario: Scenario) -> str:
    source = scenario.source
    if verdict.outcome is Outcome.VACUOUS:
        return _vacuous(verdict, {planned.name: planned.fault.to_ask for planned in scenario.faults})
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return f"run it again when others take less of the machine ({_PAGE}#calm-and-disturbed-time)"
    if verdict.outcome is not Outcome.BROKEN or not (unread := _unread(verdict)):
        return ""
    judged = unread[0]
    *above, _ = judged.finding.path or ("",)
    # A query stands in a key of its own, beside those that are judged by it.
    base, query = source.line(above), source.line((*above, "read"))
    file, line = source.problem((), "").file, judged.line if query == base else query
    return f"look at what {judged.finding.id} asks for, and of whom (query, key, name), at {file}:{line}"


def _vacuous(verdict: Verdict, to_ask: Mapping[str, str]) -> str:
    failed = [judged.finding for judged in verdict.failed()]
    if any(found.id.startswith("steady_state.") for found in failed):
        return f"nothing was tested: the service was not well before the first fault; mend that first ({_PAGE})"
    if not verdict.faults:
        return f"nothing was tested: no fault was injected; put one under timeline.faults ({_PAGE})"
    untouched = [fault for fault in verdict.faults if not fault.proved]
    if untouched:
        name = untouched[0].name
        if done := untouched[0].touched:
            what = counted(untouched[0].needed, untouched[0].unit)
            return f"too little was tested: {name} acted on {done} of {what}; let it last longer ({_PAGE}#evidence)"
        ask = to_ask.get(name, f"does traffic of this scenario reach {untouched[0].target}")
        return f"nothing was tested: {name} touched nothing; {ask} while the fault lasts? ({_PAGE}#evidence)"
    if failed and _TOO_FEW.search(failed[0].seen):
        return f"too little was seen: raise the rate, or let the fault last longer ({_PAGE}#needed-samples)"
    return f"nothing was there to judge: make the finding below come about, or do not ask for it ({_PAGE})"
