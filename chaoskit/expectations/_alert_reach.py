"""How near an alert that never fired came to it, as far as the history tells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from chaoskit.base.units import counted, format_duration
from chaoskit.expectations._alert_lives import Lives, titled
from chaoskit.expectations._evidence import SHOWN
from chaoskit.history import rows as r
from chaoskit.history.alerts import incidents
from chaoskit.language.view import View
from chaoskit.rules.promql.compared import Comparison, comparisons
from chaoskit.rules.promql.operators import EvaluationError
from chaoskit.rules.promql.selected import needed
from chaoskit.rules.promql.series import NAME, Store

_KEEP = 24 * 3600 * 1000
_LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')
_LONGEST = 100
"""Characters of an expression that are shown."""


def pending_only(lives: Lives, waits: float) -> str:
    """For how long the condition was true at most, where it never was for long enough; ``waits`` is the rule's ``for``
    in seconds, 0 if not known. Empty where it was never seen pending.
    """
    rows = sorted(lives.view.history.rows(r.Alert), key=lambda row: row.at)
    longest, lasts = 0.0, False
    for row in lives.pending():
        over = next((later.at for later in rows if later.fingerprint == row.fingerprint and later.at > row.at), None)
        length = (lives.end if over is None else over) - row.at
        if length > longest:
            longest, lasts = length, over is None
    if not longest or math.isinf(longest):
        return ""
    asked = f"; `for` asks {format_duration(waits)}" if waits else ""
    still = ", until the history ends" if lasts else ""
    return f"its condition was true for {format_duration(longest)} at most{still} (pending, never firing){asked}"


def others(lives: Lives, name: str) -> str:
    """The lives of alerts of that name which are not meant: they have other labels. Empty where there were none."""
    rows = lives.view.history.rows(r.Alert)
    titles = dict.fromkeys(titled(life.name, life.labels) for life in incidents(rows) if life.name == name)
    return f"it fired with other labels: {', '.join(list(titles)[:SHOWN])}" if titles else ""


def reached(view: View, query: str, start: float, end: float) -> str:
    """How far the sides of a rule's comparisons came between two moments, evaluated over what our own scrapes gave.

    Told of each that never held. Empty where the history does not tell: metrics that are not in it (``up``, buckets,
    what rules record), parts of PromQL that our evaluator does not understand, no comparison with a number.
    """
    found, metrics = comparisons(query), needed(query)
    rows = [row for row in view.history.rows(r.Sample) if not row.name.startswith("process.") and row.at <= end]
    if not found or metrics - {_metric(row) for row in rows}:
        return ""
    store = Store(_KEEP)
    for row in sorted(rows, key=lambda row: row.at):
        store.append(_ms(row.at), [(_labels(row), row.value)])
    moments = sorted({_ms(row.at) for row in rows if row.at >= start and _metric(row) in metrics})
    if not moments:
        return ""
    try:
        told = [text for each in found if (text := _told(each, store, moments))]
    except EvaluationError:
        return ""
    scrapes = f" (by {counted(len(moments), 'scrapes')} since the first fault began)"
    return "; ".join(told[:SHOWN]) + scrapes if told else ""


def _told(comparison: Comparison, store: Store, moments: list[int]) -> str:
    """Empty where it held at some moment."""
    left, sign, limit = comparison.told, comparison.sign, comparison.limit
    left = left if len(left) <= _LONGEST else f"{left[: _LONGEST - 1]}…"
    values = [value for value in _values(comparison, store, moments) if not math.isnan(value)]
    if not values:
        return f"{left} had no value (does a series have these labels?)"
    if any(map(comparison.holds, values)):
        return ""
    low, high = (f"{bound:.4g}" for bound in (min(values), max(values)))
    was = f"{low} at least" if sign.startswith("<") else f"{high} at most" if sign.startswith(">") else ""
    if low == high:
        was = f"{low} all the time"
    elif sign in ("==", "!="):
        was = f"{low} to {high}"
    return f"{left} was {was}, never {sign} {limit:g}"


def _values(comparison: Comparison, store: Store, moments: list[int]) -> Iterator[float]:
    for moment in moments:
        yield from (sample.value for sample in comparison.left.vector(store, moment))


def _metric(row: r.Sample) -> str:
    return row.name.partition("{")[0]


def _labels(row: r.Sample) -> dict[str, str]:
    """As Prometheus has them: job and instance are the service's name (see the provider ``prometheus``)."""
    name, _, inner = row.name.partition("{")
    own = {label: re.sub(r"\\(.)", _unescaped, value) for label, value in _LABEL.findall(inner)}
    given = {"job": row.service, "instance": row.service}
    return {NAME: name, **{f"exported_{key}" if key in given else key: value for key, value in own.items()}, **given}


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _ms(moment: float) -> int:
    return round(moment * 1000)
