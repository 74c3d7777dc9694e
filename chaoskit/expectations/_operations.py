"""What the callers of an operation saw: the figures, and their judgement.

Latency counts from the intended send time over *all* requests, those that failed or timed out included: a
service that answers fast by failing, or a caller that gave up, must not improve a percentile.

======================  =======================================
metric                  meaning
======================  =======================================
``success_rate``        ok answers / requests
``error_rate``          1 - ``success_rate``
``fallback_rate``       fallback answers / ok answers
``p50`` ... ``p999``    latency percentile
``mean`` ``max``        latency
``throughput``          ok answers per second
``requests``            requests sent
======================  =======================================

How many samples each needs is told by :func:`chaoskit.language.samples.needed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import ceil, isnan, nan

from chaoskit.expectations._calm import in_calm_time
from chaoskit.expectations._evidence import excess, first_few, latency, moment
from chaoskit.expectations._relative import against_steady
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, percentile
from chaoskit.language.bounds import Bound, RelativeBound
from chaoskit.language.expectation import Finding, Outcome, check, hopeless
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.samples import PERCENTS, SHARES, needed
from chaoskit.language.view import View


@dataclasses.dataclass
class Tally:
    """What the figures of some requests are made of. ``latencies`` are seconds."""

    latencies: list[float]
    ok: int
    fallbacks: int


def figure(
    metric: str,
    tally: Tally,
    seconds: float,
    at_percent: Callable[[Sequence[float], float], float] = percentile,
) -> float:
    """One figure in base units; NaN where there is nothing to measure. ``seconds`` is the span they came from."""
    count = len(tally.latencies)
    if metric == "requests":
        return float(count)
    if metric == "throughput":
        return tally.ok / seconds if seconds > 0 else nan
    if metric == "fallback_rate":
        return tally.fallbacks / tally.ok if tally.ok else nan
    if not count:
        return nan
    if metric in PERCENTS:
        return at_percent(tally.latencies, PERCENTS[metric])
    match metric:
        case "success_rate":
            return tally.ok / count
        case "error_rate":
            return (count - tally.ok) / count
        case "mean":
            return sum(tally.latencies) / count
        case "max":
            return max(tally.latencies)
    raise ValueError(f"unknown metric {metric!r}")


def measure(requests: Sequence[r.Request], metric: str, span_seconds: float) -> float:
    """One figure of ``requests``, which were sent within ``span_seconds``. NaN where there is nothing to measure.

    Raises ValueError for a metric that is no field of :class:`OperationBounds`.
    """
    answered = [request for request in requests if request.ok]
    fallbacks = sum(request.fallback for request in answered)
    return figure(metric, Tally([latency(row) for row in requests], len(answered), fallbacks), span_seconds)


def judge_operations(
    prefix: str,
    bounds: Mapping[str, OperationBounds],
    view: View,
    windows: Sequence[Window],
    counts: Callable[[r.Request], bool] = lambda _: True,
) -> Iterator[Finding]:
    """One finding for each bound, over the requests that were to be sent within ``windows``, if ``counts`` says so.

    Ids are ``PREFIX.OPERATION.METRIC``, paths ``(operation, metric)``.
    """
    for op, asked in bounds.items():
        requests = [row for row in view.requests(op, windows) if counts(row)]
        for metric, bound in asked.bounds():
            name, path = f"{prefix}.{op}.{metric}", (op, metric)
            judge = partial(_judge, name, path, view)
            in_time = partial(in_calm_time, judge, metric, requests=requests, view=view, windows=windows)
            if isinstance(bound, RelativeBound):
                yield against_steady(name, path, bound, view, measure, in_time)
            else:
                yield in_time(bound)


def _judge(
    id: str,
    path: tuple[str, str],
    view: View,
    bound: Bound,
    requests: list[r.Request],
    windows: Sequence[Window],
) -> Finding:
    metric = path[1]
    value = measure(requests, metric, sum(window.length for window in windows))
    samples = sum(row.ok for row in requests) if metric == "fallback_rate" else len(requests)
    need = needed(metric, bound)
    finding = check(
        id,
        bound,
        value,
        samples,
        need=need,
        lost=_lost(metric, bound, requests, samples, value * samples, need),
        path=path,
    )
    if finding.outcome is Outcome.VACUOUS or not requests:
        return finding
    rows = () if finding.held else first_few(row for row in requests if _offends(metric, bound, row))
    worst = _worst_second(metric, bound, requests, view, windows)
    return dataclasses.replace(finding, worst=worst, rows=rows)


def _lost(metric: str, bound: Bound, requests: list[r.Request], samples: int, part: float, need: int) -> bool:
    """Whether these requests decide against the bound, even if they are too few for it to hold.

    ``part`` is how many of ``samples`` a share counts.
    """
    if metric in SHARES:
        return hopeless(need, (samples - part, 1 - bound.low), (part, bound.high))
    if metric not in PERCENTS and metric != "max":
        return False
    # "p99 < 1s" is the same as: at most 1 % take longer.
    share = PERCENTS.get(metric, 100.0) / 100
    over = sum(latency(row) > bound.high for row in requests)
    under = sum(latency(row) < bound.low for row in requests)
    rank = int(share * need + 0.5)  # as HdrHistogram has it: of ten the fifth is the p50
    return over > need - rank or under >= rank


def _offends(metric: str, bound: Bound, request: r.Request) -> bool:
    """Whether this request is one of those that moved the figure out of its bound."""
    match metric:
        case "success_rate" | "error_rate" | "throughput":
            unwanted = bound.holds(0.0) != (metric == "error_rate")  # a bound that allows no success: ok offends
            return request.ok == unwanted
        case "fallback_rate":
            return request.ok and request.fallback == bound.holds(0.0)
        case "requests":
            return True
    return not bound.holds(latency(request))


def _worst_second(
    metric: str, bound: Bound, requests: Sequence[r.Request], view: View, windows: Sequence[Window]
) -> str:
    """The second with the worst figure, told. Seconds are counted from the start of each window."""
    if metric == "requests":
        return ""
    seconds: dict[Window, list[r.Request]] = {}
    for window in windows:
        for index in range(ceil(window.length)):
            second = Window(window.start + index, min(window.start + index + 1, window.end))
            # A rate over a sliver of a second is noise.
            if metric != "throughput" or second.length > 0.5:
                seconds[second] = []
    ordered = sorted(seconds)
    index = 0
    for request in requests:
        while index < len(ordered) and request.intended >= ordered[index].end:
            index += 1
        if index < len(ordered) and request.intended >= ordered[index].start:
            seconds[ordered[index]].append(request)
    figures = [
        (excess(bound, value), second, value)
        for second, rows in seconds.items()
        if not isnan(value := measure(rows, metric, second.length))
    ]
    if not figures:
        return ""
    _, second, value = max(figures, key=lambda entry: entry[0])
    at = moment(view, second.start, windows[0].start)
    return f"worst second: {bound.show(value)} at {at}, n={len(seconds[second])}"
