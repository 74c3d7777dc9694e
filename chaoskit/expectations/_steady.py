"""When steady state holds again. The engine asks while the scenario runs, the judge afterwards: one answer."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isnan

from chaoskit.expectations._evidence import latency
from chaoskit.expectations._operations import Tally, figure, measure
from chaoskit.history import rows as r
from chaoskit.history.windows import Window
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.view import View

BASE = "base"
"""Streams of operations' own, steady traffic begin so; the others are bursts."""


def recovered_at(
    seen: View | Iterable[r.Request],
    steady_state: Mapping[str, OperationBounds],
    since: float,
    window: float = 1.0,
    until: float | None = None,
) -> float | None:
    """The earliest moment from ``since`` on at which steady state held for ``window`` seconds; None if not yet.

    It holds over [t, t + window) when every bound of every operation does, on at least one request of each
    operation that has traffic of its own. Candidates for t are ``since`` and the moments at which a request was
    to be sent; ``until`` limits t + window.

    Whether it stays so is another question (:mod:`chaoskit.expectations._lasting`).

    Requests are written down when they *end*, so the newest seconds are always missing some. Only complete
    windows are looked at, and all that lies before an answer is complete too: rows that come later never change
    an answer other than None. Two things follow. Only base traffic counts (a hole in a burst cannot be told
    from its end), and the bounds of ``requests`` do not (they speak of the generator, over another span).
    Of the requests before ``since`` the last one is needed to know that none is missing after it: give all.
    """
    return next(good_spells(seen, steady_state, since, window, until), None)


def good_spells(
    seen: View | Iterable[r.Request],
    steady_state: Mapping[str, OperationBounds],
    since: float,
    window: float = 1.0,
    until: float | None = None,
) -> Iterator[float]:
    """The moments, as of :func:`recovered_at`, at which steady state begins to hold: it did not at the one before."""
    tracks = [_Track(rows, steady_state[op], since) for op, rows in _base(seen, steady_state).items()]
    limit = min((track.complete for track in tracks), default=-inf)
    if until is not None:
        limit = min(limit, until)
    held = False
    for start in sorted({since, *(moment for track in tracks for moment in track.moments)}):
        if start + window > limit:
            return
        before, held = held, all(track.holds(start, start + window) for track in tracks)
        if held and not before:
            yield start


def complete_until(
    seen: View | Iterable[r.Request], steady_state: Mapping[str, OperationBounds], since: float
) -> float:
    """Up to which moment all requests that steady state is judged by have ended; ``since`` if none has."""
    tracks = [_Track(rows, steady_state[op], since) for op, rows in _base(seen, steady_state).items()]
    return max(since, min((track.complete for track in tracks), default=since))


def unmet(view: View, steady_state: Mapping[str, OperationBounds], window: Window) -> list[str]:
    """What keeps steady state from holding over ``window``, in words: bounds out of which a figure is, however few the
    samples, and operations without a request."""
    found = []
    for op, rows in _base(view, steady_state).items():
        requests = [row for row in rows if row.intended in window]
        if not requests:
            found.append(f"no request of {op}")
            continue
        figures = [
            (metric, bound, measure(requests, metric, window.length)) for metric, bound in steady_state[op].bounds()
        ]
        found += [
            f"{op}.{metric} {'of no answer' if isnan(value) else bound.show(value)}"
            for metric, bound, value in figures
            if metric != "requests" and not bound.holds(value)
        ]
    return found


def _base(seen: View | Iterable[r.Request], steady_state: Mapping[str, OperationBounds]) -> dict[str, list[r.Request]]:
    """Base requests by operation. Operations without traffic of their own are left out."""
    if isinstance(seen, View):
        with_traffic = [op for op in steady_state if op not in seen.operations or seen.operations[op].rate > 0]
        return {op: [row for row in seen.requests(op) if row.stream.startswith(BASE)] for op in with_traffic}
    by_op: dict[str, list[r.Request]] = {op: [] for op in steady_state}
    for row in seen:
        if row.stream.startswith(BASE) and row.op in by_op:
            by_op[row.op].append(row)
    return by_op


def rank(ordered: Sequence[float], percent: float) -> float:
    """The percentile of values in ascending order, by the rank that HdrHistogram takes."""
    return ordered[max(0, int(percent / 100 * len(ordered) + 0.5) - 1)]


class _Track:
    """The requests of one operation from ``since`` on, under a window that only moves forward."""

    def __init__(self, rows: list[r.Request], bounds: OperationBounds, since: float) -> None:
        rows.sort(key=lambda row: row.seq)
        # How many copies belong together is learned from the rows; the steady phase has shown it long ago.
        copies = 1 + max((row.copy for row in rows), default=0)
        first = bisect_left(rows, since, key=lambda row: row.intended)
        # Base traffic is sent in the order of seq, so what is missing before the last one that was due before
        # ``since`` was due before it as well.
        self.rows, self.complete = _unbroken(rows[first:], rows[first - 1].seq + 1 if first else 0, copies)
        self.moments = [row.intended for row in self.rows]
        self.bounds = [(metric, bound) for metric, bound in bounds.bounds() if metric != "requests"]
        self.tally = Tally([], 0, 0)
        self.span = (0, 0)
        self.verdict: bool | None = None

    def holds(self, start: float, end: float) -> bool:
        """Whether every bound holds over [start, end). ``start`` never decreases from call to call."""
        self._move(bisect_left(self.moments, start, self.span[0]), bisect_left(self.moments, end, self.span[1]))
        if self.verdict is None:
            self.verdict = bool(self.tally.latencies) and all(
                bound.holds(figure(metric, self.tally, end - start, rank)) for metric, bound in self.bounds
            )
        return self.verdict

    def _move(self, low: int, high: int) -> None:
        if (low, high) == self.span:
            return
        for row in self.rows[self.span[1] : high]:
            insort(self.tally.latencies, latency(row))
            self._count(row, 1)
        for row in self.rows[self.span[0] : low]:
            del self.tally.latencies[bisect_left(self.tally.latencies, latency(row))]
            self._count(row, -1)
        self.span, self.verdict = (low, high), None

    def _count(self, row: r.Request, sign: int) -> None:
        self.tally.ok += sign * row.ok
        self.tally.fallbacks += sign * (row.ok and row.fallback)


def _unbroken(rows: list[r.Request], seq: int, copies: int) -> tuple[list[r.Request], float]:
    """The requests from number ``seq`` on up to the first that is missing, and how far they reach in time."""
    index = 0
    while index + copies <= len(rows) and rows[index].seq == rows[index + copies - 1].seq == seq:
        index += copies
        seq += 1
    return rows[:index], rows[index - 1].intended if index else -inf
