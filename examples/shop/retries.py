"""When a call to payments is repeated: the policy of each value of ``RETRIES``, and the budget they share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shop.settings import Settings
from shop.sliding import SlidingCount

_BUDGET_WINDOW_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """``gap`` gives the seconds to wait after attempt 1, 2, …"""

    attempts: int
    gap: Callable[[int], float]
    within_deadline: bool = True
    within_budget: bool = True
    also_client_errors: bool = False


def policy_for(settings: Settings) -> Policy:
    """The policy that ``settings.retries`` names; "bounded" is the one to copy."""
    base, attempts = settings.retry_base_s, settings.retry_attempts

    def exponential(attempt: int) -> float:
        return base * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)

    def at_once(_: int) -> float:
        return 0.0

    def constant(_: int) -> float:
        return 2 * base

    def capped(attempt: int) -> float:
        return min(exponential(attempt), 4 * base)

    policies = {
        "bounded": Policy(attempts=attempts, gap=exponential),
        "off": Policy(attempts=1, gap=exponential),
        "eager": Policy(attempts=10, gap=at_once, within_budget=False),
        "fixed": Policy(attempts=attempts, gap=constant),
        "everything": Policy(attempts=attempts, gap=exponential, also_client_errors=True),
        # Twice as many: the usual ones would be over before the deadline and show nothing.
        "past-deadline": Policy(attempts=2 * attempts, gap=capped, within_deadline=False),
    }
    return policies[settings.retries]


class RetryBudget:
    """Retries may be at most ``ratio`` of the calls of the last ten seconds, and ``min_per_s`` on top.

    The floor lets single retries through at a low rate; the ratio bounds the load a failing dependency gets.
    """

    def __init__(self, *, ratio: float, min_per_s: float) -> None:
        self._ratio = ratio
        self._floor = min_per_s * _BUDGET_WINDOW_S
        self._calls = SlidingCount(_BUDGET_WINDOW_S)
        self._retries = SlidingCount(_BUDGET_WINDOW_S)

    def note_call(self) -> None:
        self._calls.add()

    def spend(self) -> bool:
        """Take one retry from the budget; False when it is used up."""
        if self._retries.total() + 1 > self._ratio * self._calls.total() + self._floor:
            return False
        self._retries.add()
        return True
