"""Everything together: scrapers, rules every so often, notifications, the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from chaoskit.alerting.evaluator.alerts import ActiveAlert, AlertingRule
from chaoskit.alerting.evaluator.api import Api, rfc3339
from chaoskit.alerting.evaluator.notify import Notifier
from chaoskit.alerting.evaluator.scrape import Scraper
from chaoskit.alerting.evaluator.settings import Settings
from chaoskit.base.clock import now
from chaoskit.rules.promql.series import Store
from chaoskit.rules.speed_up import ranges

LIVES = 4
"""Intervals that a notification holds unless it is repeated."""


class Evaluator:
    """One per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = [AlertingRule(rule) for file in settings.rules for rule in file.rules]
        self._store = Store(max((length for each in self._rules for length in ranges(each.rule.spec.expr)), default=0))
        self._scrapers = [Scraper(target, self._store, settings.scrape_every) for target in settings.targets]
        self._notifiers = [Notifier(url) for url in settings.alertmanagers]
        self._lock = threading.Lock()
        self.api = Api(
            {
                "/api/v1/alerts": lambda: {"alerts": [self._alert(alert) for alert in self._active()]},
                "/api/v1/rules": lambda: {"groups": list(self._groups())},
                "/api/v1/targets": lambda: {"activeTargets": list(self._targets()), "droppedTargets": []},
                "/api/v1/alertmanagers": lambda: {
                    "activeAlertmanagers": [{"url": notifier.url} for notifier in self._notifiers],
                    "droppedAlertmanagers": [],
                },
            },
            self.forget,
        )

    def run(self) -> None:
        """Until the process ends."""
        for scraper in self._scrapers:
            scraper.start()
        for notifier in self._notifiers:
            notifier.start()
        while any(scraper.health == "unknown" for scraper in self._scrapers):
            time.sleep(0.01)  # what was not looked at yet is not absent
        due = now()
        while True:
            self.evaluate(time.time())
            due = max(due + self._settings.evaluate_every, now())
            time.sleep(max(0.0, due - now()))

    def evaluate(self, moment: float) -> None:
        """All rules once, and tell what there is to tell."""
        lives = LIVES * max(self._settings.resend_every, self._settings.evaluate_every)
        with self._lock:
            for rule in self._rules:
                rule.evaluate(self._store, moment)
                due = [alert for alert in rule.told() if alert.due(moment, self._settings.resend_every)]
                for alert in due:
                    alert.sent_at = moment
                messages = [self._message(alert, moment + lives) for alert in due]
                for notifier in self._notifiers:
                    notifier.send(messages)

    def forget(self) -> None:
        """Delete all series; alerts end with the next evaluation."""
        with self._lock:
            for scraper in self._scrapers:
                scraper.forget()
            self._store.forget()

    def _message(self, alert: ActiveAlert, valid_until: float) -> dict[str, Any]:
        return {
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": rfc3339(alert.fired_at),
            "endsAt": rfc3339(alert.resolved_at or valid_until),
            "generatorURL": f"http://{self._settings.host}:{self._settings.port}/graph",
        }

    def _active(self) -> list[ActiveAlert]:
        with self._lock:
            return [alert for rule in self._rules for alert in rule.alerts()]

    def _alert(self, alert: ActiveAlert) -> dict[str, Any]:
        return {
            "labels": alert.labels,
            "annotations": alert.annotations,
            "state": alert.state,
            "activeAt": rfc3339(alert.active_at),
            "value": f"{alert.value:e}",
        }

    def _groups(self) -> Iterator[dict[str, Any]]:
        with self._lock:
            for file in self._settings.rules:
                for group in file.spec.groups:
                    here = [
                        rule for rule in self._rules if rule.rule.page is file.page and rule.rule.group == group.name
                    ]
                    yield {
                        "name": group.name,
                        "file": str(file.page.file),
                        "interval": self._settings.evaluate_every,
                        "rules": [self._rule(rule) for rule in here],
                    }

    def _rule(self, rule: AlertingRule) -> dict[str, Any]:
        alerts, spec = rule.alerts(), rule.rule.spec
        states = {alert.state for alert in alerts}
        return {
            "type": "alerting",
            "name": rule.rule.name,
            "query": spec.expr,
            "duration": spec.for_ / 1000,
            "keepFiringFor": spec.keep_firing_for / 1000,
            "labels": spec.labels,
            "annotations": spec.annotations,
            "state": "firing" if "firing" in states else "pending" if states else "inactive",
            "alerts": [self._alert(alert) for alert in alerts],
            "health": "err" if rule.error else "ok",
            "lastError": rule.error,
            "lastEvaluation": rfc3339(rule.evaluated_at),
        }

    def _targets(self) -> Iterator[dict[str, Any]]:
        for scraper in self._scrapers:
            yield {
                "labels": scraper.target.labels,
                "scrapePool": scraper.target.labels["job"],
                "scrapeUrl": scraper.target.url,
                "health": scraper.health,
                "lastError": scraper.error,
                "lastScrape": rfc3339(scraper.at),
            }
