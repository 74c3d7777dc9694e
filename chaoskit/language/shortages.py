"""How many samples a scenario plans for each bound: too few are told before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from chaoskit.base.errors import InputError, Problem
from chaoskit.base.units import format_duration, format_rate
from chaoskit.language.model import Operation, ScenarioFile
from chaoskit.language.planned import PlannedFault
from chaoskit.language.samples import Demand, demands, steady_guard
from chaoskit.language.scenario import PlannedExpectation, Scenario


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
