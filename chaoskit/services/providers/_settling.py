"""Getting Prometheus ready for a scenario: it sees every service, and nothing of the scenario before."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaoskit.clock import now, wait_for
from chaoskit.errors import BrokenError, TimeoutExpired

if TYPE_CHECKING:
    from chaoskit.services.providers.prometheus import Prometheus

DISCOVERY = 20.0
"""Seconds until targets and Alertmanager are known: Prometheus looks 5 s after its start at the earliest."""
MARGIN = 3.0
"""Seconds beyond what the rules themselves need until the alerts of the scenario before are over."""
_FORGET = "/api/v1/admin/tsdb/delete_series?match[]=%7B__name__%3D~%22.%2B%22%7D"

Labels = frozenset[tuple[str, str]]


class Settling:
    """``stale``: its data belongs to a scenario that is over."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._always: frozenset[Labels] = frozenset()
        self._new = True
        self.stale = False
        self._seen = ""

    def settle(self) -> None:
        """See :meth:`Prometheus.settle`."""
        if self._new:
            self._wait_for_targets(0.0)
            self._wait_for_silence()
            self._always = self._alerts()  # a watchdog fires all the time
            self._new = self.stale = False
            return
        if not self.stale:
            self._wait_for_targets(0.0)
            return
        self._prometheus.call("POST", _FORGET)
        self._wait_for_targets(time.time())
        if not self._wait_for_silence():
            self._prometheus.stop()
            self._prometheus.start()
            self._wait_for_targets(0.0)
            self._wait_for_silence()
            self._always = self._alerts()
        self._wait_until_told()
        self.stale = False

    def _wait_for_targets(self, since: float) -> None:
        """Until each target was scraped successfully after ``since`` (Unix time), and somebody is told of alerts."""
        try:
            wait_for(
                lambda: not self._lacking(since),
                what=f"{self._prometheus.name} to scrape {', '.join(self._prometheus.targets)} and find whom to tell",
                limit=DISCOVERY,
                every=0.05,
                last_seen=lambda: self._seen,
            )
        except TimeoutExpired as error:
            lines = "\n  ".join(self._prometheus.last_lines()[-10:])
            raise BrokenError(f"{error}\n  {lines}" if lines else str(error)) from None

    def _lacking(self, since: float) -> str:
        told = self._prometheus.call("GET", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        targets = self._prometheus.call("GET", "/api/v1/targets?state=active")["data"]["activeTargets"]
        up = {target["labels"]["job"] for target in targets if target["health"] == "up" and _scraped(target) > since}
        missing = sorted(set(self._prometheus.targets) - up)
        errors = {target["labels"]["job"]: target["lastError"] for target in targets if target["lastError"]}
        reasons = [f"{name}: {errors.get(name) or 'not scraped yet'}" for name in missing]
        self._seen = "; ".join([*reasons, *([] if told else ["no Alertmanager discovered"])])
        return self._seen

    def _wait_for_silence(self) -> bool:
        """Whether the alerts that were there went away, here and at Alertmanager."""
        longest = self._prometheus.longest_firing
        deadline = now() + MARGIN + longest
        while now() < deadline:
            if self._alerts() <= self._always and self._alertmanager_silent():
                return True
            time.sleep(0.05)
        return False

    def _wait_until_told(self) -> None:
        """Until whoever was told that an alert fires was told that it does not, if that comes soon.

        It need not come: an Alertmanager that was killed has forgotten.
        """
        deadline = now() + MARGIN
        while now() < deadline:
            firing = {frozenset(labels.items()) for labels in self._prometheus.neighbours.firing()}
            if firing <= self._always:
                return
            time.sleep(0.02)

    def _alertmanager_silent(self) -> bool:
        name = self._prometheus.args.alertmanager
        if name is None or self._always:
            return True
        alertmanager: Any = self._prometheus.neighbours.services[name]
        return not alertmanager.alive() or bool(alertmanager.silent())

    def _alerts(self) -> frozenset[Labels]:
        alerts = self._prometheus.call("GET", "/api/v1/alerts")["data"]["alerts"]
        return frozenset(frozenset(alert["labels"].items()) for alert in alerts)


def _scraped(target: dict[str, Any]) -> float:
    """Unix time of the latest scrape."""
    return datetime.fromisoformat(target["lastScrape"]).timestamp()
