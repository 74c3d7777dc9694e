"""Which metrics a fault report shows: those that the alert's rule asks for, then those that changed most. Bounded."""

from __future__ import annotations

import math

from chaoskit.alerting.fault_report import Metric
from chaoskit.alerting.report_facts import Clock
from chaoskit.base.mask import mask
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.rules.promql.selected import needed

MOST = 25
"""Metrics in one report."""

Key = tuple[str, str]
"""Of a series: its service, and its name with labels."""


def metrics(
    history: History, alert: str, service: str, first_fault: float | None, until: float, clock: Clock
) -> tuple[list[Metric], int]:
    """The metrics that matter at ``until`` (monotonic seconds), and how many others there are.

    ``alert`` is the name of the one that fired, ``service`` the one it is about, ``first_fault`` when the first fault
    began. What is neither asked for by the rule nor has changed since then does not matter, unless all is so.
    """
    latest, before = _values(history, first_fault, until)
    names = _asked_for(history, alert)
    asked = {key for key in latest if key[1].partition("{")[0] in names}
    changes = {key: _change(before.get(key), row.value) for key, row in latest.items()}
    order = sorted(latest, key=lambda key: (key not in asked, -changes[key], key[0] != service, key))
    shown = ([key for key in order if key in asked or changes[key]] or order)[:MOST]
    told = [
        Metric(
            service=key[0], name=mask(key[1]), time=clock(latest[key].at), value=latest[key].value,
            before=before.get(key), of_rule=key in asked,
        )
        for key in shown
    ]  # fmt: skip
    return told, len(latest) - len(told)


def _values(history: History, first_fault: float | None, until: float) -> tuple[dict[Key, r.Sample], dict[Key, float]]:
    """The latest sample of each series, and its value before the first fault."""
    latest: dict[Key, r.Sample] = {}
    before: dict[Key, float] = {}
    for row in history.rows(r.Sample):
        # The count and the sum of a histogram tell enough.
        if row.at > until or "_bucket{" in row.name or row.name.partition("{")[0].endswith("_created"):
            continue
        latest[row.service, row.name] = row
        if first_fault is not None and row.at < first_fault:
            before[row.service, row.name] = row.value
    return latest, before


def _asked_for(history: History, alert: str) -> frozenset[str]:
    """The metrics that the rules of an alert ask for, as they were read last."""
    queries = (row.queries[alert] for row in reversed(history.rows(r.Rules)) if alert in row.queries)
    return needed(next(queries, ""))


def _change(before: float | None, value: float) -> float:
    """The change as a share of the larger value: 1 for what was not there or was 0, up to 2 where the sign changed."""
    if before is None:
        return 1.0
    if value == before or (math.isnan(value) and math.isnan(before)):
        return 0.0
    if not (math.isfinite(value) and math.isfinite(before)):
        return 1.0
    return abs(value - before) / max(abs(value), abs(before))
