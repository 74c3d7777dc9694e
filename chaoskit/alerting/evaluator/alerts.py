"""The life of the alerts of one rule, step by step as Prometheus takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from chaoskit.rules.files import Rule
from chaoskit.rules.promql.evaluate import Query
from chaoskit.rules.promql.operators import EvaluationError, without_name
from chaoskit.rules.promql.series import Labels, Sample, Store
from chaoskit.rules.supported_promql import parsed
from chaoskit.rules.template import expand

RETENTION = 15 * 60.0
"""Seconds that a resolved alert is remembered, so that it can be told again."""

State = Literal["pending", "firing", "inactive"]


@dataclass
class ActiveAlert:
    """One alert. Times are Unix seconds, 0 for never."""

    labels: dict[str, str]
    annotations: dict[str, str]
    value: float
    active_at: float
    state: State = "pending"
    fired_at: float = 0.0
    resolved_at: float = 0.0
    keep_since: float = 0.0
    sent_at: float = field(default=0.0)

    def due(self, moment: float, resend_every: float) -> bool:
        """Whether Alertmanager is to be told (again)."""
        if self.state == "pending":
            return False
        return self.resolved_at > self.sent_at or self.sent_at + resend_every < moment


class AlertingRule:
    """A rule and its alerts. ``error`` is why the latest evaluation failed, empty when it did not.

    ``evaluated_at`` is when that was (Unix seconds), 0 before the first.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.error = ""
        self.evaluated_at = 0.0
        self._query = Query(parsed(rule.spec.expr))
        self._hold = rule.spec.for_ / 1000
        self._keep = rule.spec.keep_firing_for / 1000
        self._alerts: dict[Labels, ActiveAlert] = {}

    def alerts(self) -> list[ActiveAlert]:
        """Those that are pending or firing."""
        return [alert for alert in self._alerts.values() if alert.state != "inactive"]

    def told(self) -> list[ActiveAlert]:
        """Those that Alertmanager may have to be told of: resolved ones too."""
        return list(self._alerts.values())

    def evaluate(self, store: Store, moment: float) -> None:
        """Take one step at ``moment`` (Unix seconds). An expression that fails changes nothing."""
        self.evaluated_at = moment
        try:
            found = dict(self._found(self._query.vector(store, round(moment * 1000)), moment))
            self.error = ""
        except EvaluationError as error:
            self.error = str(error)
            return
        for key, alert in found.items():
            known = self._alerts.get(key)
            if known is not None and known.state != "inactive":
                known.value, known.annotations = alert.value, alert.annotations
            else:
                self._alerts[key] = alert
        for key, alert in list(self._alerts.items()):
            if key in found:
                alert.keep_since = 0.0
            elif not self._ends(key, alert, moment):
                continue
            if alert.state == "pending" and moment - alert.active_at >= self._hold:
                alert.state, alert.fired_at = "firing", moment

    def _ends(self, key: Labels, alert: ActiveAlert, moment: float) -> bool:
        """An alert whose cause is gone: True where it fires on for a while."""
        keeps = False
        if alert.state == "firing" and self._keep:
            alert.keep_since = alert.keep_since or moment
            keeps = moment - alert.keep_since < self._keep
        if alert.state == "pending" or (alert.resolved_at and moment - alert.resolved_at > RETENTION):
            del self._alerts[key]
        if alert.state != "inactive" and not keeps:
            alert.state, alert.resolved_at = "inactive", moment
        return keeps

    def _found(self, samples: list[Sample], moment: float) -> Iterator[tuple[Labels, ActiveAlert]]:
        spec, seen = self.rule.spec, set()
        for labels, value in samples:
            own = {name: expand(text, labels, value) for name, text in spec.labels.items()}
            whole = {**without_name(labels), **own, "alertname": self.rule.name}
            whole = {name: text for name, text in whole.items() if text}  # an empty label is none
            key = frozenset(whole.items())
            if key in seen:
                raise EvaluationError("vector contains metrics with the same labelset after applying alert labels")
            seen.add(key)
            annotations = {name: expand(text, labels, value) for name, text in spec.annotations.items()}
            yield key, ActiveAlert(whole, annotations, value, moment)
