"""How many samples a bound needs, and how many a scenario plans: too few are told before anything runs.

======================  =======================================================
bound on                samples needed
======================  =======================================================
a share                 1 / min(b, 1 - b) for each limit b of the bound that lies between 0 % and 100 %, at least 20
a percentile p          1 / (1 - p), at least 10
``mean``, ``max``       10
======================  =======================================================

A share that is counted on n requests moves in steps of 1/n, and a percentile is one of n values. With fewer than these
a limit next to 100 % (or 0 %) cannot be told from 100 % itself, and a percentile is nothing but the maximum. Both are
one idea, the resolution of an empirical distribution (Hyndman and Fan, "Sample Quantiles in Statistical Packages", The
American Statistician 50, 1996, definition 1). A bound of 100 % or 0 % means every single one of those that were seen.

A bound that is relative to the steady state needs as many of the steady phase, too: of a share 20, as only the run
tells its limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING

from chaoskit.errors import InputError, Problem
from chaoskit.scenario.bounds import Bound, RelativeBound
from chaoskit.units import format_duration, format_rate

if TYPE_CHECKING:
    from chaoskit.scenario.model import (
        Operation,
        OperationBounds,
        PlannedExpectation,
        PlannedFault,
        Scenario,
        ScenarioFile,
    )

Path_ = tuple[str | int, ...]

PERCENTS = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
SHARES = ("success_rate", "error_rate", "fallback_rate")
COUNTS = ("throughput", "requests")

STEADY_GUARD = 1.0
"""Seconds before the first fault that are left out of the steady phase at most (:func:`steady_guard`)."""

_SHARE_NEEDS, _LATENCY_NEEDS = 20, 10


@dataclass(frozen=True)
class Demand:
    """Samples that the bound at ``path`` (relative to the expectation) needs of an operation in a phase.

    ``phase`` is ``steady``, ``faults`` or ``after``; the length of any other is not known before the run.
    """

    path: Path_
    bound: str
    operation: str
    phase: str
    samples: int


def needed(metric: str, bound: Bound) -> int:
    """Requests that a bound on a figure of an operation needs (for ``fallback_rate``: successes)."""
    if metric in SHARES:
        return share_needs(bound)
    if metric in PERCENTS:
        return max(_LATENCY_NEEDS, _steps(1 - PERCENTS[metric] / 100))
    if metric == "requests" and bound.holds(0):
        return 0  # "none were sent" is what the bound allows, not a lack of samples
    return 1 if metric in COUNTS else _LATENCY_NEEDS


def share_needs(bound: Bound) -> int:
    """Samples that a bound on a share needs: one more failure, or one fewer, must be able to make the difference."""
    limits = [limit for limit in (bound.low, bound.high) if 0 < limit < 1]
    return max([_SHARE_NEEDS, *(_steps(min(limit, 1 - limit)) for limit in limits)])


def demands(phase: str, bounds: Mapping[str, OperationBounds]) -> Iterator[Demand]:
    """What bounds by operation need."""
    for op, asked in bounds.items():
        for metric, bound in asked.bounds():
            for each in (phase, "steady") if isinstance(bound, RelativeBound) else (phase,):
                yield Demand((op, metric), f"{metric} {bound}", op, each, needed(metric, bound))


def steady_guard(steady: float, answers_within: float = inf) -> float:
    """Seconds at the end of the steady phase that requests which the first fault strikes under way may take up.

    Never more than :data:`STEADY_GUARD` or half the phase: what hangs for longer is the steady state's own trouble.
    """
    return min(STEADY_GUARD, steady / 2, answers_within)


def refuse_too_few(scenarios: Iterable[Scenario]) -> None:
    """Raises InputError with every bound that no run could judge, for want of samples."""
    problems = {str(problem): problem for scenario in scenarios for problem in shortages(scenario)}
    if problems:
        raise InputError(problems.values())


def shortages(scenario: Scenario) -> Iterator[Problem]:
    """Bounds that a run of this scenario can never judge: where they stand, why, and what would do."""
    model, faults, expectations = scenario.model, scenario.faults, scenario.expectations
    asked = [(("steady_state", *one.path), one) for one in demands("steady", model.steady_state)]
    for planned in expectations:
        asked += [((*planned.path, *one.path), one) for one in planned.expectation.demands()]
    spans = _spans(model, faults, expectations)
    for path, demand in asked:
        operation, span = model.traffic.get(demand.operation), spans.get(demand.phase)
        if operation is None or span is None:
            continue
        extra = _extra(faults, demand)
        sent = _sent(operation, span.seconds) + extra
        if sent < demand.samples:
            rate = format_rate(operation.rate) + (f" and {extra} more" if extra else "")
            copies = f" in {operation.copies} copies" if operation.copies > 1 else ""
            why = f"{demand.bound} needs {demand.samples} requests; {rate}{copies} in {span.told} gives {sent}"
            yield scenario.source.problem(path, why, () if extra else tuple(_cures(operation, demand.samples, span)))


@dataclass(frozen=True)
class _Span:
    """Planned ``seconds`` of a phase that are judged, in words, and the key that sets them; ``less`` do not count."""

    seconds: float
    told: str
    key: str
    less: float = 0.0


def _spans(
    model: ScenarioFile, faults: Sequence[PlannedFault], expectations: Sequence[PlannedExpectation]
) -> dict[str, _Span]:
    """By phase, where its length is known before the run."""
    steady, after = model.timeline.steady, model.timeline.after
    guard = steady_guard(steady, answers_within(model))
    less = f", less {format_duration(guard)} for requests that the fault strikes under way," if guard else ""
    active = union(faults)
    spans = {
        "steady": _Span(steady - guard, f"a steady phase of {format_duration(steady)}{less}", "steady", guard),
        "faults": _Span(active, f"{format_duration(active)} of faults", "for"),
    }
    # What comes late makes this phase longer.
    if not model.sops and not any(hasattr(planned.expectation, "awaits") for planned in expectations):
        spans["after"] = _Span(after, f"a phase 'after' of {format_duration(after)}", "after")
    return spans


def answers_within(model: ScenarioFile) -> float:
    """Seconds in which a request is answered while all is well: its time limit, or what its steady state allows."""
    return max((_within(name, model) for name, operation in model.traffic.items() if operation.rate), default=0.0)


def _within(name: str, model: ScenarioFile) -> float:
    bounds = dict(model.steady_state[name].bounds()) if name in model.steady_state else {}
    limits = [bounds[metric].high for metric in ("p95", "p99", "p999", "max") if metric in bounds]
    return min([model.traffic[name].timeout, *limits])


def union(faults: Sequence[PlannedFault]) -> float:
    """Seconds in which at least one fault is planned to be active."""
    seconds, until = 0.0, 0.0
    for start, end in sorted((each.at, each.at + each.length) for each in faults):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds


def _extra(faults: Sequence[PlannedFault], demand: Demand) -> int:
    """Requests that faults themselves send."""
    extra = sum(each.fault.extra_requests(demand.operation, each.length) for each in faults)
    return int(extra) if demand.phase == "faults" else 0


def _sent(operation: Operation, seconds: float) -> int:
    """Requests in ``seconds``. Of random arrivals (Poisson) two standard deviations fewer, which 98 % exceed."""
    expected = operation.rate * seconds * operation.copies
    spread = 2 * sqrt(expected) if operation.arrival == "poisson" else 0.0
    return max(0, int(round(expected - spread, 6)))


def _cures(operation: Operation, samples: int, span: _Span) -> Iterator[str]:
    """The rate and the length that would do, each for itself."""
    expected = (1 + sqrt(1 + samples)) ** 2 if operation.arrival == "poisson" else samples
    if span.seconds:
        yield f"rate: {ceil(round(expected / operation.copies / span.seconds, 6))}/s"
    if operation.rate:
        seconds = expected / operation.copies / operation.rate + span.less
        yield f"{span.key}: {ceil(round(seconds * 10, 6)) / 10:g}s"


def _steps(distance: float) -> int:
    """The fewest samples whose share moves in steps of at most ``distance``."""
    return ceil(round(1 / distance, 6))
