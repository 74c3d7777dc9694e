"""The operations of a scenario as traffic that flows from the first moment to the last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now
from chaoskit.expectations._steady import BASE
from chaoskit.language.model import Operation
from chaoskit.traffic import spec as traffic
from chaoskit.traffic.generator import TrafficGenerator

LEAD = 0.05
"""Seconds between asking for a stream and its first request: the command reaches the worker in time."""


def start_traffic(
    generator: TrafficGenerator,
    seed: int,
    operations: Mapping[str, Operation],
    variables: Mapping[str, Any],
    radius: BlastRadius,
    notes: Iterable[tuple[str, str]] = (),
    reads: Iterable[tuple[str, list[int]]] = (),
) -> float:
    """Begin a session of ``generator`` and send each operation at its rate; gives the time of the first request.

    ``variables`` are what templates may name, ``radius`` is where requests may go, ``notes`` what rows keep of answers,
    as operation and dotted path, ``reads`` whose bodies are read, as operation and statuses. Raises BrokenError for a
    template that fails.
    """
    noted: dict[str, list[str]] = {}
    for name, path in dict.fromkeys(notes):
        noted.setdefault(name, []).append(path)
    read: dict[str, list[list[int]]] = {}
    for name, statuses in reads:
        read.setdefault(name, []).append(statuses)
    specs = [
        _as_traffic(name, operation, noted.get(name, []), _any(read.get(name, [])))
        for name, operation in operations.items()
    ]
    generator.begin(seed, specs, variables, radius.hosts)
    start = now() + LEAD
    for spec in specs:
        if spec.rate:  # those without one are sent by bursts alone
            generator.stream(traffic.Stream(id=f"{BASE}:{spec.name}", op=spec.name, start=start))
    return start


def _any(read: list[list[int]]) -> list[int] | None:
    """All statuses together, where an empty list stands for any; None when there is no list."""
    if not read:
        return None
    return sorted({status for statuses in read for status in statuses}) if all(read) else []


def _as_traffic(name: str, model: Operation, noted: list[str], read: list[int] | None) -> traffic.Operation:
    """An operation of the scenario language as the traffic worker takes it."""
    fallback = model.fallback
    return traffic.Operation(
        name=name,
        method=model.method,
        url=model.url,
        headers=model.headers,
        json=model.json_,
        body=model.body,
        rate=model.rate,
        arrival=model.arrival,
        timeout=model.timeout,
        ok_status=model.ok.statuses,
        ok_json=model.ok.json_,
        note_json=noted,
        read=read,
        fallback=traffic.Fallback(header=fallback.header or {}, status=fallback.status, json=fallback.json_ or {})
        if fallback
        else None,
        copies=model.copies,
        id_header=model.id_header,
        in_flight=model.in_flight,
    )
