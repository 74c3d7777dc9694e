"""Who looks at an environment while a scenario runs, from the first request to the last."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from chaoskit.base.errors import BrokenError
from chaoskit.engine.environment import LiveEnvironment
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.observers._own import OwnConnections, Place
from chaoskit.observers.alert_rules import AlertRules
from chaoskit.observers.base import Observer
from chaoskit.observers.host import Host
from chaoskit.observers.metrics_scraper import MetricsScraper
from chaoskit.observers.process_sampler import ProcessSampler
from chaoskit.traffic.generator import TrafficGenerator


class Observation:
    """Everything that is seen of an environment goes to a history while this context lasts."""

    def __init__(
        self, live: LiveEnvironment, generator: TrafficGenerator, history: History, id_headers: list[str]
    ) -> None:
        self.live = live
        self.generator = generator
        self.history = history
        self._id_headers = id_headers
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.live.observe_nothing)
            self._poller = self.live.observe(self.history.add, self._id_headers)
            services = list(self.live.services.values())
            observers: list[Observer] = [
                self._poller,
                ProcessSampler(services, self.history.add, own=self._own()),
                Host(services, self.history.add, self.live.journal.run_id),
            ]
            observers += [
                MetricsScraper(service.name, url, self.history.add, self.live.radius)
                for service in services
                if (url := service.metrics_url)
            ]
            observers += [
                AlertRules(service.name, service.url(service.host, service.port), self.history.add, self.live.radius)
                for service in services
                if service.spec.provider == "prometheus"
            ]
            for observer in observers:
                observer.start()
                stack.callback(observer.stop)
            self.generator.emit = self._seen
            stack.callback(self.generator.abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _own(self) -> OwnConnections:
        places = {}
        for name, service in self.live.services.items():
            with contextlib.suppress(BrokenError):  # no proxy stands before it
                places[name] = Place(service.port, 0)
                places[name] = Place(service.port, self.live.proxied(name)[1])
        return OwnConnections(places, lambda: filter(None, [self.generator.pid]))

    def drain(self) -> None:
        """Fetch what the proxies have not told yet. Raises BrokenError when rows were lost."""
        self._poller.drain()
        if self._poller.errors:
            raise BrokenError(f"observing the proxies failed: {self._poller.last_error}")

    def _seen(self, row: r.Row) -> None:
        if isinstance(row, r.Request):
            self.live.answered(row.stream)
        self.history.add(row)
