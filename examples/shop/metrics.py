"""Everything the three processes count, in one place, with the service's name on each series."""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "page", "preset"]

_LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)

requests = Counter("http_requests", "Requests answered", ["service", "method", "route", "status"])
latency = Histogram("http_request_duration_seconds", "Time to answer", ["service", "route"], buckets=_LATENCIES)
in_flight = Gauge("http_requests_in_flight", "Requests being answered now", ["service"])
panics = Counter("panics_recovered", "Unhandled exceptions that ended one request only", ["service"])

pool_in_use = Gauge("db_pool_in_use", "Connections lent out", ["service"])
pool_size = Gauge("db_pool_size", "Connections the pool may open", ["service"])
pool_waiting = Gauge("db_pool_waiting", "Tasks waiting for a connection", ["service"])
pool_discarded = Counter("db_pool_discarded", "Connections found broken and thrown away", ["service"])
statements = Counter("db_statements", "Statements sent to the database", ["service"])
conflicts = Counter("db_conflict_retries", "Transactions repeated after a conflict", ["service"])

cache = Counter("cache_lookups", "Product lookups by where the answer came from", ["service", "source"])
rate_limited = Counter("rate_limited", "Requests refused by the rate limit", ["service"])

attempts = Counter("payment_attempts", "Calls sent to payments", ["service"])
retries = Counter("retries", "Calls to payments that repeat an earlier one", ["service"])
breaker_state = Gauge("breaker_state", "0 closed, 1 half-open, 2 open", ["service"])
breaker_rejected = Counter("breaker_rejected", "Calls rejected because the breaker is open", ["service"])
fallbacks = Counter("fallback", "Answers given without the dependency", ["service", "kind"])

outbox_pending = Gauge("outbox_pending", "Rows of the outbox not done yet", ["service"])
outbox_oldest = Gauge("outbox_oldest_seconds", "Age of the oldest row not done yet", ["service"])
outbox_done = Counter("outbox_done", "Rows of the outbox done", ["service"])
task_errors = Counter("worker_task_errors", "Units of background work that failed", ["service"])
job_runs = Counter("worker_job_runs", "Runs of the periodic job", ["service"])
job_errors = Counter("worker_job_errors", "Runs of the periodic job that failed", ["service"])

feature = Gauge("feature_enabled", "1 while the feature is on", ["service", "feature"])
tasks = Gauge("asyncio_tasks", "Tasks of the event loop", ["service"])


def preset(service: str) -> None:
    """Create each counter at zero: an alert on an increase needs to have seen the zero."""
    for metric in (
        panics, in_flight, pool_in_use, pool_waiting, pool_discarded, statements, conflicts, rate_limited,
        attempts, retries, breaker_state, breaker_rejected, outbox_pending, outbox_oldest, outbox_done,
        task_errors, job_runs, job_errors,
    ):  # fmt: skip
        metric.labels(service)
    tasks.labels(service).set_function(lambda: len(asyncio.all_tasks()))


def page() -> bytes:
    """The whole registry in Prometheus' text format."""
    return generate_latest(REGISTRY)
