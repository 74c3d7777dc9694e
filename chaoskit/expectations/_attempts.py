"""The calls of a service to a dependency as its proxy saw them: whose request led to each, and its attempts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from chaoskit.expectations._traces import ids_of, span_of
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, inside
from chaoskit.language.expectation import NeverKnown

if TYPE_CHECKING:
    from chaoskit.language.planned import PlannedFault

SameCall = Literal["path", "id", "idempotency-key"]
"""What the attempts of one call have in common, beside the client's request: method and path with its query, nothing
else, or the header ``idempotency-key`` (method and path where there is none).
"""

COPIES = "calls of requests with one id, such as copies, are not told apart"
"""Why a figure may be open."""

_SAME_MOMENT = 1e-9
_NAMED = re.compile(r"/[^/]*[0-9][^/]*")
"""Parts of a path that may be a number or a key of one call's own."""

_SEEN = ("blackhole", "http", "latency", "refuse", "reset", "timeout")
"""Faults in which a proxy sees who calls."""


def unseen(faults: Iterable[PlannedFault], service: str, judged: str) -> Iterator[NeverKnown]:
    """The faults on ``service`` in which nobody can see the calls that are to be ``judged``."""
    for planned in faults:
        if planned.fault.target == service and planned.fault.hides_calls:
            what = f"while {service} is {planned.kind} no call comes as far as its proxy, so no {judged} can be judged"
            yield NeverKnown((*planned.path, planned.kind), f"{planned.name}: {what}", list(_SEEN))


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
    """One call that a client's request led to at a proxy: its attempts by start.

    ``requests`` are the client's requests with this id; several when the traffic sends copies. Their calls are not
    told apart. ``hidden`` are attempts that count as other calls and may be of this one, which is at least ``share`` of
    a call (:func:`with_hidden`).
    """

    id: str
    requests: list[r.Request]
    exchanges: list[r.Exchange]
    hidden: int = 0
    share: float = 1.0

    @property
    def most(self) -> int:
        """Attempts that the call of a single request may have had: with copies, if the others made no call."""
        return len(self.exchanges) + self.hidden

    @property
    def least(self) -> int:
        """Attempts that the call of the request which fared worst had at least: with copies the average, rounded up."""
        return -(-len(self.exchanges) // len(self.requests))

    @property
    def fewest(self) -> int:
        """Attempts that the call of the request which fared best may have had."""
        return len(self.exchanges) if len(self.requests) == 1 else 1

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


class Callers:
    """Requests of clients, to be known again by what the calls to a dependency carry.

    That is the correlation id, or the trace id of the ``traceparent``: whichever the service passes on. A trace id
    under which several ids were sent tells nobody apart, so it is not looked at.
    """

    def __init__(self, requests: Iterable[r.Request]) -> None:
        self.requests: dict[str, list[r.Request]] = {}
        """By id; by trace id where none was sent."""
        self._by_trace: dict[str, set[str]] = {}
        for request in requests:
            if name := self.name(request):
                self.requests.setdefault(name, []).append(request)
                self._by_trace.setdefault(ids_of(request.traceparent)[0], set()).add(name)

    @staticmethod
    def name(request: r.Request) -> str:
        """The id of a request: the one it was sent with, or its trace's; empty where it has neither."""
        return request.id or ids_of(request.traceparent)[0]

    def of(self, call: r.Exchange) -> str:
        """The id of the request that led to ``call``; empty when it is none of these."""
        if call.id in self.requests:
            return call.id
        trace, _ = span_of(call)
        names = self._by_trace.get(trace, ()) if trace else ()
        return next(iter(names)) if len(names) == 1 else ""


def group(
    callers: Callers, requests: Iterable[r.Request], exchanges: Iterable[r.Exchange], same: SameCall = "path"
) -> list[Attempts]:
    """The calls that those of ``callers`` led to that are among ``requests``, each with its attempts."""
    wanted = {callers.name(request) for request in requests}
    calls: dict[tuple[str, ...], list[r.Exchange]] = {}
    for exchange in exchanges:
        if (name := callers.of(exchange)) in wanted and name:
            calls.setdefault((name, *call_key(exchange, same)), []).append(exchange)
    return [
        Attempts(name, callers.requests[name], sorted(found, key=lambda exchange: exchange.started))
        for (name, *_), found in calls.items()
    ]


def with_hidden(seen: Sequence[Attempts], usual: Sequence[Attempts]) -> list[Attempts]:
    """``seen``, where a service may have tried again under another name: with a number in the query, a new key.

    A request that makes more calls of one kind (method, and path without what may be such a name) than any of its
    operation did among ``usual`` may have made no more than that, and the others are attempts of these.
    """
    made: dict[tuple[str, ...], int] = {}
    for (_, *kind), calls in _by_kind(usual).items():
        made[tuple(kind)] = max(made.get(tuple(kind), 1), len(calls))
    found = []
    for (_, *kind), calls in _by_kind(seen).items():
        more = len(calls) - made.get(tuple(kind), 1)
        if more <= 0:
            found += calls
            continue
        counts = sorted((len(call.exchanges) for call in calls), reverse=True)
        for call in calls:
            own = len(call.exchanges)
            hidden = sum(counts[: more + 1]) - own if own >= counts[more - 1] else sum(counts[:more])
            found.append(replace(call, hidden=hidden, share=1 - more / len(calls)))
    return found


def _by_kind(calls: Iterable[Attempts]) -> dict[tuple[str, ...], list[Attempts]]:
    """By request, operation and kind."""
    found: dict[tuple[str, ...], list[Attempts]] = {}
    for call in calls:
        first = call.exchanges[0]
        key = (call.id, call.requests[0].op, first.method, _NAMED.sub("/*", _pure(first)))
        found.setdefault(key, []).append(call)
    return found


def strays(calls: Iterable[r.Exchange], callers: Callers, windows: Sequence[Window], steady: Window | None) -> int:
    """How many of ``calls`` within ``windows`` are of nobody known, beyond those that the service makes anyway.

    That is as many to the same method and path as a steady beat brings that shows so often in the steady phase.
    """
    unknown = [call for call in calls if not callers.of(call)]
    usual = Counter((call.method, _pure(call)) for call in unknown if steady is not None and call.started in steady)
    found = Counter((call.method, _pure(call)) for call in unknown if inside(call.started, windows))
    times = sum(window.length for window in windows) / steady.length if steady is not None and steady.length else 0.0
    expected = {kind: (count + 1) * times + 1 for kind, count in usual.items()}
    return sum(max(0, count - int(expected.get(kind, 0))) for kind, count in found.items())


def _pure(call: r.Exchange) -> str:
    """The path without its query."""
    return call.path.partition("?")[0]


def call_key(exchange: r.Exchange, same: SameCall = "path") -> tuple[str, ...]:
    """What tells the calls of one request apart."""
    if same == "id":
        return ()
    key = exchange.headers.get("idempotency-key", "") if same == "idempotency-key" else ""
    return (key,) if key else (exchange.method, exchange.path)
