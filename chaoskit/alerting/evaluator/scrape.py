"""Scraping one target: samples into the store, and marks of staleness for what is no longer there."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping

from chaoskit.alerting.evaluator.settings import Target
from chaoskit.base.clock import now
from chaoskit.rules.promql.series import NAME, Labels, Store


class Scraper:
    """One target, scraped by a thread of its own every ``every`` seconds; a scrape may take as long as that."""

    def __init__(self, target: Target, store: Store, every: float) -> None:
        self.target = target
        self.health = "unknown"
        self.error = ""
        self.at = 0.0
        self._store = store
        self._every = every
        self._seen: dict[Labels, Mapping[str, str]] = {}
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=every)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, at once."""
        threading.Thread(target=self._run, name=f"scrape-{self.target.url}", daemon=True).start()

    def forget(self) -> None:
        """Nothing was seen so far."""
        with self._lock:
            self._seen.clear()

    def _run(self) -> None:
        due = now()
        while True:
            self.scrape()
            due = max(due + self._every, now())
            time.sleep(max(0.0, due - now()))

    def scrape(self) -> None:
        """Once; a target that fails is down, and its series are stale."""
        began, moment = now(), time.time()
        try:
            found = self._series(self._get())
            error = ""
        except (OSError, http.client.HTTPException, ValueError) as failure:
            self._connection.close()
            found, error = {}, f'Get "{self.target.url}": {failure or type(failure).__name__}'
        with self._lock:
            gone = [(labels, None) for key, labels in self._seen.items() if key not in found]
            self._seen = {key: labels for key, (labels, _) in found.items()}
            own = {"up": float(not error), "scrape_duration_seconds": now() - began}
            own["scrape_samples_scraped"] = float(len(found))
            report = [({NAME: name, **self.target.labels}, value) for name, value in own.items()]
            self._store.append(round(moment * 1000), [*found.values(), *gone, *report])
            self.health, self.error, self.at = "down" if error else "up", error, moment

    def _get(self) -> str:
        self._connection.request("GET", self.target.path, headers={"accept": "text/plain; version=0.0.4"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"server returned HTTP status {answer.status}")
        return body.decode("utf-8")

    def _series(self, page: str) -> dict[Labels, tuple[dict[str, str], float]]:
        """Each series of a page with its value; a label that the target takes too is kept as ``exported_``."""
        from prometheus_client.parser import text_string_to_metric_families

        found = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                taken = {
                    f"exported_{name}" if name in self.target.labels else name: v for name, v in sample.labels.items()
                }
                labels = {NAME: sample.name, **taken, **self.target.labels}
                found[frozenset(labels.items())] = (labels, float(sample.value))
        return found
