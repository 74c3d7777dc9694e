"""How many samples a bound needs.

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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, inf

from chaoskit.language.bounds import Bound, RelativeBound
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.source import YamlPath

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

    path: YamlPath
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


def _steps(distance: float) -> int:
    """The fewest samples whose share moves in steps of at most ``distance``."""
    return ceil(round(1 / distance, 6))
