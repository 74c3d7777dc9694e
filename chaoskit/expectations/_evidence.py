"""How a finding tells what is behind it: the request, the moment, how far a figure is from its bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from math import inf

from chaoskit.base.units import format_duration
from chaoskit.history import rows as r
from chaoskit.language.bounds import Bound
from chaoskit.language.expectation import Finding, Outcome
from chaoskit.language.view import View

SHOWN = 5
"""How many rows of the history a finding names."""


def latency(request: r.Request) -> float:
    """Seconds from the intended send time to the end, whatever the end was."""
    return request.ended - request.intended


def told(request: r.Request) -> str:
    """A request as a person reads it: ``4f1c (503, 12ms)``."""
    name = request.id or f"{request.op}#{request.seq}"
    end = request.status if request.error is None else request.error
    return f"{name} ({end}, {format_duration(latency(request))})"


def first_few(requests: Iterable[r.Request]) -> tuple[str, ...]:
    """The first of ``requests``, told."""
    return tuple(told(request) for request, _ in zip(requests, range(SHOWN), strict=False))


def moment(view: View, at: float, otherwise: float) -> str:
    """``+3.0 s``: seconds after the start of the first fault, or after ``otherwise`` when there was none."""
    origin = view.first_fault if view.first_fault is not None else otherwise
    return f"{at - origin:+.1f} s"


def excess(bound: Bound, value: float) -> float:
    """How far ``value`` lies outside of ``bound``; negative inside. Orders figures from best to worst."""
    below = bound.low - value if bound.low > -inf else -inf
    above = value - bound.high if bound.high < inf else -inf
    return max(below, above)


def with_unit(finding: Finding, show: Callable[[str], str]) -> Finding:
    """The finding with its seen figure put into words. One that is vacuous has its words already."""
    return finding if finding.outcome is Outcome.VACUOUS else dataclasses.replace(finding, seen=show(finding.seen))


def vacuous(
    id: str,
    expected: str,
    why: str,
    path: tuple[str | int, ...] = (),
    samples: int = 0,
    because: str = "",
    *,
    certain: bool = False,
) -> Finding:
    """A finding that proves nothing, with its reason."""
    return Finding(id, Outcome.VACUOUS, expected, why, samples, path, because=because, certain=certain)


def many(number: str, noun: str) -> str:
    """``1 attempt``, ``3 attempts``."""
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
