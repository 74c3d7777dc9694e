"""How soon after the last fault steady state holds again: ``recovery: {within: 5s}``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from pydantic import model_validator

from chaoskit.base.units import format_duration
from chaoskit.expectations._cured import because_of_sop
from chaoskit.expectations._evidence import SHOWN, first_few, moment, vacuous
from chaoskit.expectations._lasting import LASTS, spells
from chaoskit.expectations._relative import clear_of_the_next
from chaoskit.expectations._steady import complete_until, unmet
from chaoskit.history.windows import Window
from chaoskit.language.expectation import Expectation, Finding, NeverKnown, Outcome
from chaoskit.language.planned import Given
from chaoskit.language.types import Duration, problem
from chaoskit.language.view import View

BETWEEN = "between"
"""``recovery.between`` is the finding on the faults before the last."""


class Recovery(Expectation):
    """``within``: seconds from the end of the last fault (of a ``kill``, which is one moment: from its last strike) to
    the first moment at which steady state holds again, and from which on it does as a whole up to the end of what is
    seen (see :mod:`chaoskit.expectations._lasting`). Where the next fault begins later than that time and 2.5 s after
    one has ended, it is asked of that one, too (``recovery.between``): what comes between faults is healthy time.

    ``because_of: sop``: besides, steady state must hold again within that time of the start of the first SOP, and
    before any fault is lifted that was active then. It is violated when steady state held already, or came back only
    because the fault was lifted. A control with ``without: sops`` proves that the service does not recover by itself.
    """

    within: Duration
    because_of: Literal["sop"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_time_alone(cls, data: Any) -> Any:
        if isinstance(data, str):
            raise problem(f"a mapping is expected, found {data!r}", [f"{{within: {data}}}"])
        return data

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """A limit beyond the time in which recovery is watched: a service that comes back in time, but later than
        that, would be told not to."""
        watched = given.timeline.recovery + given.timeline.after
        if self.within > watched:
            within = format_duration(self.within)
            what = f"within: {within} is never seen: {format_duration(watched)} after the last fault are watched"
            legal = [f"within: {format_duration(watched)} or less", f"timeline: {{recovery: {within}}} or longer"]
            yield NeverKnown((*given.path, "within"), what, legal)

    def judge(self, view: View) -> Iterator[Finding]:
        """``recovery``, ``recovery.because_of``, and ``recovery.between`` where there is such a time."""
        if self.because_of is not None:
            yield because_of_sop(view, self.within)
        expected, path = f"steady state again within {format_duration(self.within)}", ("within",)
        since = view.last_cure
        if since is None:
            yield vacuous("recovery", expected, "there was no fault to recover from", path, certain=True)
            return
        yield from self._between(view, path)
        requests = [row for op in view.steady_state for row in view.requests(op) if row.intended >= since]
        watched = complete_until(view, view.steady_state, since) - since
        if watched < view.recovery_window:
            why = (
                f"traffic was watched for {format_duration(watched)} after the last fault; "
                f"{format_duration(view.recovery_window)} are needed"
            )
            yield vacuous("recovery", expected, why, path, len(requests))
            return
        found = _back(view, since, self.within)
        held = found.outcome is Outcome.HELD
        failed = sorted((row for row in requests if not row.ok), key=lambda row: row.intended)
        yield Finding(
            "recovery",
            found.outcome,
            expected,
            f"not within {format_duration(watched)}{found.told}" if found.after is None else found.told,
            len(requests),
            path,
            worst="" if held else _still_wrong(view, since + (watched if found.after is None else found.after)),
            rows=() if held else first_few(failed[-SHOWN:]),
        )

    def _between(self, view: View, path: tuple[str, ...]) -> Iterator[Finding]:
        gaps = [Window(one.end, other.start) for one, other in pairwise(view.fault_windows)]
        long = LASTS * view.recovery_window
        clear = [clear_of_the_next(view, gap) for gap in gaps]
        asked = [gap for gap in clear if gap.length >= self.within + long]
        if not asked:
            return
        found = [(_back(view, gap.start, self.within, gap.end), gap) for gap in asked]
        worst, gap = max(found, key=lambda each: _WORST.index(each[0].outcome))
        told = worst.told if worst.after is not None else f"not within {format_duration(gap.length)}{worst.told}"
        expected = f"steady state again within {format_duration(self.within)} of each fault that another follows later"
        seen = f"{told} (of the fault that ended at {moment(view, gap.start, gap.start)})"
        requests = [row for op in view.steady_state for row in view.requests(op, asked)]
        rows = () if worst.outcome is Outcome.HELD else first_few(row for row in requests if not row.ok)
        yield Finding(f"recovery.{BETWEEN}", worst.outcome, expected, seen, len(requests), path, rows=rows)


_WORST = (Outcome.HELD, Outcome.INCONCLUSIVE, Outcome.VACUOUS, Outcome.VIOLATED)


@dataclass(frozen=True)
class _Back:
    """Whether steady state came back in time and stayed: ``after`` seconds (None: never), ``told`` in words."""

    outcome: Outcome
    after: float | None
    told: str


def _back(view: View, since: float, within: float, until: float | None = None) -> _Back:
    lost, doubtful = "", None
    for again in spells(view, since, within, until=until):
        after = again.start - since
        told = f"after {format_duration(after)}"
        if not again.lasts:
            wrong = ", ".join(_told(each) for each in again.rest if each.outcome is Outcome.VIOLATED)
            lost = lost or f"; it held {told}, but from then on as a whole {wrong}"
        elif after > within:
            return doubtful or _Back(Outcome.VIOLATED, after, told + lost)
        elif not again.settled(view):
            told = f"{told}, but was watched for {format_duration(again.watched)} only from then on"
            return doubtful or _Back(Outcome.VACUOUS, after, told + lost)
        elif again.sure:
            return _Back(Outcome.HELD, after, told)
        else:
            seen = next(_told(each) for each in again.rest if each.outcome is Outcome.INCONCLUSIVE)
            doubtful = doubtful or _Back(Outcome.INCONCLUSIVE, after, f"{told}, but from then on as a whole {seen}")
    return doubtful or _Back(Outcome.VIOLATED, None, lost)


def _told(finding: Finding) -> str:
    return f"{finding.id.removeprefix('.')} {finding.seen}"


def _still_wrong(view: View, end: float) -> str:
    """The bounds that did not hold over the last window before ``end``."""
    wrong = unmet(view, view.steady_state, Window(end - view.recovery_window, end))
    return f"last second before: {', '.join(wrong)}" if wrong else ""
