"""Every setting of the three processes, read from the environment once, at start.

The name of a variable is the name of the field in capitals. The switches (``ORDERS_POOL``, ``RECOVERY``, …)
each turn exactly one protection off, so that a rehearsal can show the damage; their first value is the
hardened one and the default.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
OnOff = Literal["on", "off"]

DEFAULT_PORTS = {"orders": 8001, "payments": 8002, "worker": 8003}


class SettingsError(ValueError):
    """A variable of the environment holds a value that cannot be used; the text says which and what is legal."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. See README.md beside this file for the table of protections and switches."""

    service: str
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    database_url: str = "postgresql://postgres@127.0.0.1:5432/postgres"
    redis_url: str = "redis://127.0.0.1:6379/0"
    payments_url: str = "http://127.0.0.1:8002"
    log_level: Literal["info", "debug", "warning", "error"] = "info"
    shutdown_s: Seconds = 2.0
    otel_exporter_otlp_endpoint: str = ""

    # Database
    db_pool_size: Count = 10
    db_acquire_timeout_s: Seconds = 0.8
    db_statement_timeout_s: Seconds = 1.0
    db_max_waiting: Count = 100
    db_conflict_attempts: Count = 3

    # Redis
    redis_pool_size: Count = 10
    redis_timeout_s: Seconds = 0.12
    cache_ttl_s: Count = 30
    cache_negative_ttl_s: Count = 5
    local_cache_ttl_s: Seconds = 1.0
    local_cache_stale_s: Seconds = 300.0
    rate_limit_max: Count = 100
    rate_limit_window_s: Seconds = 60.0
    rate_limit_on_error: Literal["open", "closed"] = "open"
    lock_lease_s: Seconds = 5.0
    lock_wait_s: Seconds = 1.2

    # Operators: networks (10.0.0.0/8, ...) that may switch features, besides this machine
    admin_allow: str = ""

    # Imports: a folder, made at the start; empty: the system's own for temporary files
    spool_dir: str = ""

    # Payments, seen from orders and worker
    order_deadline_s: Seconds = 1.0
    payment_attempt_timeout_s: Seconds = 0.3
    retry_attempts: Count = 3
    retry_base_s: Seconds = 0.05
    retry_budget_ratio: Ratio = 0.2
    retry_budget_min_per_s: Seconds = 10.0
    breaker_ratio: Ratio = 0.25
    breaker_min_calls: Count = 20
    breaker_window_s: Seconds = 2.0
    breaker_probe_s: Seconds = 1.0
    breaker_good_probes: Count = 2

    # Worker
    worker_tasks: Count = 2
    worker_batch: Count = 20
    worker_poll_s: Seconds = 0.1
    worker_lease_s: Seconds = 5.0
    worker_backoff_s: Seconds = 0.25
    worker_backoff_max_s: Seconds = 2.0
    worker_job_period_s: Seconds = 1.0
    worker_job_limit_s: Seconds = 3.0

    # Switches: one protection each
    orders_pool: Literal["hardened", "deferred-release", "poisoned"] = "hardened"
    orders_lock: OnOff = "on"
    orders_ack: Literal["after-commit", "early"] = "after-commit"
    recovery: OnOff = "on"
    recovery_body: Literal["clean", "leaky"] = "clean"
    panic_counter: OnOff = "on"
    log_trace: OnOff = "on"
    worker_recovery: OnOff = "on"
    worker_job: Literal["guarded", "overlapping"] = "guarded"
    retries: Literal["bounded", "off", "eager", "fixed", "everything", "past-deadline"] = "bounded"
    conflict_retries: OnOff = "on"
    payment_timeout: OnOff = "on"
    deadline: Literal["relative", "absolute"] = "relative"
    breaker: OnOff = "on"
    fallback: Literal["deferred", "off"] = "deferred"
    rate_limit: OnOff = "on"
    single_flight: OnOff = "on"
    local_cache: OnOff = "on"
    negative_cache: OnOff = "on"
    idempotency: OnOff = "on"
    lease: OnOff = "on"
    handles: Literal["per-iteration", "deferred"] = "per-iteration"
    spool_fallback: Literal["memory", "off"] = "memory"
    recommendations: Literal["off", "on"] = "off"
    trace_propagation: OnOff = "on"
    retry_spans: Literal["siblings", "nested"] = "siblings"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> list[Network]:
    """The networks in ``10.0.0.0/8, fd00::/8``; raises :class:`SettingsError`."""
    try:
        return [ipaddress.ip_network(word.strip()) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise SettingsError(f"ADMIN_ALLOW={text!r}: networks such as 10.0.0.0/8 are legal: {error}") from None


def read(service: str, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of ``service``; raises :class:`SettingsError` naming the first unusable variable."""
    values: dict[str, object] = {"service": service, "port": DEFAULT_PORTS[service]}
    for field in msgspec.structs.fields(Settings):
        name = field.name.upper()
        if field.name == "service" or name not in environment:
            continue
        try:
            values[field.name] = msgspec.convert(environment[name], field.type, strict=False)
            if field.name == "admin_allow":
                networks(environment[name])
        except msgspec.ValidationError as error:
            choices = get_args(field.type)
            legal = f"one of {', '.join(choices)}" if isinstance(choices[-1], str) else str(error).lower()
            raise SettingsError(f"{name}={environment[name]!r}: {legal}") from None
    return Settings(**values)  # type: ignore[arg-type]  # each value was converted to its field's type above


def read_or_exit(service: str) -> Settings:
    """Like :func:`read`; an unusable variable ends the process with exit status 2 and one clear line."""
    try:
        return read(service)
    except SettingsError as error:
        sys.stderr.write(f"{service}: {error}\n")
        raise SystemExit(2) from None
