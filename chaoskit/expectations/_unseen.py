"""When a metric was not seen although its service was there to give it: what held until then may hold no longer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf

from chaoskit.expectations._samples import PROCESS, Series
from chaoskit.history import rows as r
from chaoskit.history.windows import Window, without
from chaoskit.language.view import View

STALE = 2.0
"""Seconds without a sample, or five times the usual interval if that is longer, after which nothing is known of it."""
_MISSED = 2
"""Intervals that such a time must take of what is judged, to say anything about it."""

_GONE, _BACK, _STARTED = ("exited", "paused"), ("ready", "continued"), ("started", "restarted")
"""What happens to a service that gives nothing from then on, that gives something again, that begins anew."""


def unseen(view: View, series: Series, service: str, spans: Sequence[Window]) -> Window | None:
    """The longest time within ``spans`` for which the metric was not seen, if it is too long.

    Not counted is time in which the service did not run, or was paused. A metric that a page does not show yet since
    the service was started may come with its first use: as long as the page was read, it was seen that there is none.
    """
    usual = usual_interval(series.all)
    silent = list(_silent(view, service))
    edges = sorted(edge for phase in view.phases.values() for edge in (phase.start, phase.end))
    moments = sorted([*_seen(view, series, service), *edges[:1], *edges[-1:]])
    found = [
        Window(max(gap.start, span.start), min(gap.end, span.end))
        for gap in without([Window(before, after) for before, after in pairwise(moments)], silent)
        if gap.length > max(STALE, 5 * usual)
        for span in spans
    ]
    return max((part for part in found if part.length > _MISSED * usual), key=lambda part: part.length, default=None)


def usual_interval(rows: Sequence[r.Sample]) -> float:
    """Seconds from one sample to the next."""
    return statistics.median(after.at - before.at for before, after in pairwise(rows)) if len(rows) > 1 else 0.0


def _seen(view: View, series: Series, service: str) -> Iterator[float]:
    """When there was a sample, or a page without the metric, which may not be there yet."""
    yield from (row.at for row in series.all)
    if series.metric in PROCESS:
        return
    rows = [
        row for row in view.history.rows(r.Sample) if row.service == service and not row.name.startswith("process.")
    ]
    shown = {row.at for row in rows if row.name == series.metric or row.name.startswith(f"{series.metric}{{")}
    absent = {row.at for row in rows} - shown  # what is NaN stands on the page, and is no sample
    for start in [-inf, *(event.at for event in _events(view, service) if event.what in _STARTED)]:
        first = min((row.at for row in series.all if row.at >= start), default=inf)
        yield from (at for at in absent if start <= at < first)


def _silent(view: View, service: str) -> Iterator[Window]:
    """When the service did not run, or was paused."""
    since: float | None = None
    for event in _events(view, service):
        if event.what in _GONE and since is None:
            since = event.at
        elif event.what in _BACK and since is not None:
            yield Window(since, event.at)
            since = None
    if since is not None:
        yield Window(since, inf)


def _events(view: View, service: str) -> list[r.Event]:
    return sorted((row for row in view.history.rows(r.Event) if row.service == service), key=lambda row: row.at)
