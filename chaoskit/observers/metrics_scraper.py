"""Reads a service's own metrics in Prometheus' text format, directly and not through the proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now
from chaoskit.base.http_calls import Connection
from chaoskit.history.rows import Sample
from chaoskit.observers.base import Emit, Observer


class MetricsScraper(Observer):
    """Samples all metrics of one service, named ``name{label="value",...}`` with the labels sorted.

    Of histograms only ``_count`` and ``_sum`` are kept; ``_created`` times are left out. ``limit`` is how long one
    scrape may wait for the service, in seconds. One scraper per service, so that one which hangs does not hold up the
    others.
    """

    def __init__(
        self, service: str, url: str, emit: Emit, radius: BlastRadius, interval: float = 0.25, limit: float = 1.0
    ) -> None:
        super().__init__(emit, interval, f"scrape-{service}")
        self._service = service
        parts = urlsplit(url)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._connection = Connection(parts.hostname or "", parts.port, limit, radius)

    def observe(self) -> None:
        """Scrape once. Raises OSError, HTTPException or ValueError."""
        try:
            text = self._get()
        except BaseException:
            self._connection.close()  # it connects anew for the next scrape
            raise
        moment = now()
        for name, value in parse(text):
            self.emit(Sample(service=self._service, name=name, at=moment, value=value))

    def stop(self) -> None:
        """End and close the connection."""
        super().stop()
        self._connection.close()

    def _get(self) -> str:
        self._connection.request("GET", self._path, headers={"accept": "text/plain; version=0.0.4"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"GET {self._path}: status {answer.status}")
        return body.decode("utf-8")


def parse(text: str) -> list[tuple[str, float]]:
    """Names and values of a page of metrics. Raises ValueError when it is not in Prometheus' format."""
    from prometheus_client.parser import text_string_to_metric_families

    found = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.type == "histogram" and sample.name.endswith("_bucket"):
                continue
            if sample.name.endswith("_created"):
                continue
            found.append((_name(sample.name, sample.labels), float(sample.value)))
    return found


def _name(name: str, labels: dict[str, str]) -> str:
    if not labels:
        return name
    inner = ",".join(f'{label}="{_escape(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
