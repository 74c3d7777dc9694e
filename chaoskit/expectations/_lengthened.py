"""Pauses beside others' load, which can only have made them longer: what is out of bounds all the same, or within.

A pause is a timer, with work at both of its ends. Others delay that work. What they add to a pause is on average no
more than our threads waited for a processor (or the hypervisor took) while it lasted, and whatever it is, it knows
neither which of two pauses comes first nor how long each was to be. So

* ``first``: all pauses were at most as long as they are seen (but for what the proxy saw late). A median below a lower
  limit was below it.
* ``factor``: of calls that grow as they are to, the first pause was lengthened by more than the second in half of them
  at most, and half of the calls may grow by less than the median: together 3/4. If calls of which either must be true
  are so many more that chance brings it in one case of a hundred, the growth is too small. (And likewise too large.)
* ``jitter``: what is added at random never makes a spread smaller (draws from a distribution without gaps, such as all
  kinds of jitter that are known to us). The median may be as much smaller as was added: that is known to be about the
  same for all, for else they would be spread.

A figure that is within its bound may be there for what others added: pauses without jitter are spread by it, and a
back-off that grows too fast grows less. It holds if it would with as much less of each as a timer was late at most
meanwhile.

Nothing is known of calls that met a time without any bound.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from math import comb

from chaoskit.expectations._attempts import Attempts
from chaoskit.history.calm import CALM_SHARE
from chaoskit.history.windows import Window
from chaoskit.language.bounds import Bound
from chaoskit.language.view import View

_LEAST = 1e-9
EITHER, CHANCE = 0.75, 0.01
SPREAD_NEEDED = 20
"""Pauses whose spread tells something."""


def out_of_bounds(figure: str, bound: Bound, calls: Sequence[Attempts], needed: int, view: View) -> bool:
    """Whether the ``figure`` (first, factor or jitter) of ``calls`` breaks its bound however others lengthened them."""
    known = [
        (call.pauses, [view.calm.waited(before.ended, after.started) for before, after in pairwise(call.exchanges)])
        for call in calls
        if call.pauses and not view.doubted(call.exchanges[0].started, call.exchanges[-1].ended)
    ]
    first = [(pauses[0], waited[0]) for pauses, waited in known]
    if figure == "first":
        late = max((each.row.late for each in view.calm.disturbed if not each.overwhelmed), default=0.0)
        return len(first) >= needed and statistics.median(pause for pause, _ in first) + late < bound.low
    if figure == "jitter":
        if len(first) < SPREAD_NEEDED:
            return False
        deciles = statistics.quantiles((pause for pause, _ in first), n=10, method="inclusive")
        spread = deciles[8] - deciles[0]
        middle = deciles[4] - spread - statistics.fmean(waited for _, waited in first)
        return middle > 0 and spread / middle < bound.low
    grown = [(pauses[0], max(0.0, pauses[0] - waited[0]), pauses[1]) for pauses, waited in known if len(pauses) > 1]
    less, more = bound.low - 1, bound.high - 1
    small = sum(second - first < less * (least if less > 0 else first) for first, least, second in grown)
    large = sum(second - first > more * (first if more > 0 else least) for first, least, second in grown)
    return any(_chance(count, len(grown)) < CHANCE for count in (small, large))


def holds_anyway(figure: str, bound: Bound, calls: Sequence[Attempts], needed: int, view: View) -> bool:
    """Whether the ``figure`` of ``calls``, which is within its bound, is there without what others added."""
    retried = [call for call in calls if call.pauses]
    spans = {id(call): Window(call.exchanges[0].started, call.exchanges[-1].ended) for call in retried}
    known = [call for call in retried if not view.calm.overwhelmed(spans[id(call)])]
    met = [each for call in known for each in view.calm.during(spans[id(call)].start, spans[id(call)].end)]
    if len(known) == len(retried) and not met:
        return True
    if len(known) < max(needed, CALM_SHARE * len(retried)):
        return False
    late = max((each.row.late for each in met), default=0.0)
    if figure == "factor":
        two = [call.pauses[:2] for call in known if call.growth is not None]
        less = [max(0.0, second - late) / first for first, second in two]
        more = [second / max(first - late, _LEAST) for first, second in two]
        return len(two) >= needed and bound.holds(statistics.median(less)) and bound.holds(statistics.median(more))
    first = [call.pauses[0] for call in known]
    middle = statistics.median(first)
    if figure == "first":
        return bound.holds(max(0.0, middle - late))
    deciles = statistics.quantiles(first, n=10, method="inclusive")
    spread = deciles[8] - deciles[0]
    return bound.holds(max(0.0, spread - late) / middle) and bound.holds(spread / max(middle - late, _LEAST))


def long_anyway(bound: Bound, pauses: Sequence[Window], view: View) -> bool:
    """Whether the median of ``pauses``, which is within ``bound``, is not so only because others made them longer."""
    known = [pause for pause in pauses if not view.calm.overwhelmed(pause)]
    late = max((each.row.late for pause in known for each in view.calm.during(pause.start, pause.end)), default=0.0)
    if len(known) < max(1.0, CALM_SHARE * len(pauses)):
        return bound.low <= 0
    return bound.holds(statistics.median(pause.length for pause in known) - late) or not late


def _chance(count: int, all_: int) -> float:
    """The probability of at least ``count`` of ``all_``, where each comes with :data:`EITHER`."""
    return sum(comb(all_, k) * EITHER**k * (1 - EITHER) ** (all_ - k) for k in range(count, all_ + 1))
