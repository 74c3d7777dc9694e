"""The calls of a service to a dependency as its proxy saw them, put together to attempts of one operation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from chaoskit.history import rows as r

_SAME_MOMENT = 1e-9


def matching(exchanges: Iterable[r.Exchange], path: str | None, method: str | None) -> list[r.Exchange]:
    """The exchanges whose path begins with the regular expression ``path`` and whose method is ``method``."""
    begins = re.compile(path or "")
    wanted = method.upper() if method else None
    return [
        exchange
        for exchange in exchanges
        if begins.match(exchange.path) and (wanted is None or exchange.method == wanted)
    ]


@dataclass(frozen=True)
class Attempts:
    """What one request of a client led to at a proxy: its attempts by start.

    ``requests`` are the client's requests with this id; several when the traffic sends copies.
    """

    id: str
    requests: list[r.Request]
    exchanges: list[r.Exchange]

    @property
    def count(self) -> int:
        """Attempts for one request; with copies those of the request that fared worst are not known apart, so
        the average, rounded up."""
        return -(-len(self.exchanges) // len(self.requests))

    @property
    def pauses(self) -> list[float]:
        """Seconds from the end of each attempt to the start of the next: what the back-off made.

        Never negative: an attempt that starts before the last has ended waited for nothing. Nothing for copies.
        """
        if len(self.requests) > 1:
            return []
        return [max(0.0, after.started - before.ended) for before, after in pairwise(self.exchanges)]

    @property
    def growth(self) -> float | None:
        """The second pause over the first; None where there are not two, or the first is no pause at all."""
        pauses = self.pauses
        return pauses[1] / pauses[0] if len(pauses) > 1 and pauses[0] > _SAME_MOMENT else None


def group(requests: Iterable[r.Request], exchanges: Iterable[r.Exchange]) -> list[Attempts]:
    """The attempts of each request that reached the proxy at least once, by correlation id."""
    clients: dict[str, list[r.Request]] = {}
    for request in requests:
        if request.id:
            clients.setdefault(request.id, []).append(request)
    calls: dict[str, list[r.Exchange]] = {}
    for exchange in exchanges:
        if exchange.id in clients:
            calls.setdefault(exchange.id, []).append(exchange)
    return [
        Attempts(key, clients[key], sorted(found, key=lambda exchange: exchange.started))
        for key, found in calls.items()
    ]
