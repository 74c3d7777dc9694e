"""Alerts that are told together, and the telling."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaoskit.alerting.router.alerts import Alert, Alerts
from chaoskit.alerting.router.settings import Route, Settings, Webhook
from chaoskit.alerting.router.webhook import post
from chaoskit.base.clock import now
from chaoskit.rules.promql.series import Labels

LEAST = 10.0
"""Seconds that telling may take, with retries, whatever the interval of the group."""
BACK_OFF = 0.5
"""Seconds before the first retry; half as long again before each further one, give or take half."""

_log = logging.getLogger("chaoskit.router")


@dataclass
class _Told:
    """What a webhook was told of a group last."""

    firing: frozenset[Labels] = frozenset()
    resolved: frozenset[Labels] = frozenset()
    at: float = 0.0


@dataclass
class Group:
    """One group of one route: told ``group_wait`` after its first alert, then every ``group_interval`` if need be."""

    route: Route
    labels: Mapping[str, str]
    webhooks: Sequence[Webhook]
    known: Alerts
    _alerts: dict[Labels, Alert] = field(default_factory=dict)
    _told: dict[Webhook, _Told] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _due: threading.Event = field(default_factory=threading.Event)
    _flushed: bool = False

    def start(self) -> None:
        """Begin to count the time."""
        threading.Thread(target=self._run, name=f"group-{self.route.key}", daemon=True).start()

    def put(self, alert: Alert) -> None:
        """One more, or news of one."""
        with self._lock:
            self._alerts[alert.key] = alert
        if not self._flushed and alert.starts_at + self.route.group_wait < time.time():
            self._due.set()  # it has waited elsewhere

    def _run(self) -> None:
        self._due.wait(self.route.group_wait)
        while True:
            due = now() + self.route.group_interval
            self._flush()
            time.sleep(max(0.0, due - now()))

    def _flush(self) -> None:
        moment = time.time()
        with self._lock:
            self._flushed = True
            alerts = list(self._alerts.values())
        if not alerts:
            return
        with ThreadPoolExecutor(max(1, len(self.webhooks))) as pool:
            done = [pool.submit(self._tell, webhook, alerts, moment) for webhook in self.webhooks]
        if not all(each.result() for each in done):
            return
        with self._lock:  # what is over is forgotten, unless there is news of it
            for alert in alerts:
                if alert.resolved(moment) and self._alerts.get(alert.key) is alert:
                    del self._alerts[alert.key]

    def _tell(self, webhook: Webhook, alerts: Sequence[Alert], moment: float) -> bool:
        """Tell what is new. False when that did not succeed."""
        heard = [alert for alert in alerts if not self.known.inhibited(alert, moment)]
        firing = frozenset(alert.key for alert in heard if not alert.resolved(moment))
        resolved = frozenset(alert.key for alert in heard if alert.resolved(moment))
        if not heard or not self._needed(webhook, firing, resolved, moment):
            return True
        sent = [alert for alert in heard if webhook.send_resolved or not alert.resolved(moment)]
        if sent and not self._post(webhook, sent, moment):
            return False
        self._told[webhook] = _Told(firing, resolved, moment)
        return True

    def _needed(self, webhook: Webhook, firing: frozenset[Labels], resolved: frozenset[Labels], moment: float) -> bool:
        told = self._told.get(webhook)
        if told is None:
            return bool(firing)
        if not firing <= told.firing:
            return True
        if not firing:
            return bool(told.firing)
        if webhook.send_resolved and not resolved <= told.resolved:
            return True
        return told.at < moment - self.route.repeat_interval

    def _post(self, webhook: Webhook, alerts: Sequence[Alert], moment: float) -> bool:
        """Try until it is told, or the time is over."""
        limit = max(self.route.group_interval, LEAST)
        deadline, wait = now() + limit, BACK_OFF
        while True:
            trouble, again = post(webhook.url, self.route, self.labels, alerts, moment, max(0.1, deadline - now()))
            if not trouble:
                return True
            pause = wait * random.uniform(0.5, 1.5)  # noqa: S311  # jitter is not cryptography
            _log.warning("Notify attempt failed: %s: %s", webhook.url, trouble)
            if not again or now() + pause >= deadline:
                return False
            time.sleep(pause)
            wait *= 1.5


class Dispatcher:
    """Puts every alert into its groups."""

    def __init__(self, settings: Settings, known: Alerts) -> None:
        self._settings = settings
        self._known = known
        self._groups: dict[tuple[str, Labels], Group] = {}
        self._lock = threading.Lock()

    def put(self, alert: Alert) -> None:
        """Have it told as the routes say. What is over and belongs to no group is nothing to tell."""
        self._known.put(alert)
        for route in self._settings.route.match(alert.labels):
            labels = route.group(alert.labels)
            key = (route.key, frozenset(labels.items()))
            with self._lock:
                group, new = self._groups.get(key), False
                if group is None:
                    group = Group(route, labels, self._settings.receivers.get(route.receiver, ()), self._known)
                    self._groups[key], new = group, True
            group.put(alert)
            if new:
                group.start()
