"""Recommendations: what was bought by whoever bought this. Nice to have, and no part of an order."""

from __future__ import annotations

from collections import Counter, OrderedDict

from chaoskit.failpoints import afailpoint, register

register("orders/recommend")

_USERS = 10_000
_SHOWN = 3


class Recommender:
    """Learns from the orders that it is asked about; in memory, bounded, the users longest unseen go first."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._together: dict[str, Counter[str]] = {}

    async def also_bought(self, user: str, sku: str) -> list[str]:
        """The products most often bought next to this one."""
        await afailpoint("orders/recommend")
        before = self._latest.pop(user, sku)
        self._latest[user] = sku
        if len(self._latest) > _USERS:
            self._latest.popitem(last=False)
        if before != sku:
            self._together.setdefault(before, Counter())[sku] += 1
            self._together.setdefault(sku, Counter())[before] += 1
        return [name for name, _ in self._together.get(sku, Counter()).most_common(_SHOWN)]
