"""What a fault report says: its shape, its JSON Schema (``chaoskit schema fault-report``), and reading one back.

Times are RFC 3339 in UTC, made from the monotonic clock with the wall clock as it stood when the run began.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chaoskit.base.errors import BrokenError

FORMAT: Literal["chaoskit/fault-report/1"] = "chaoskit/fault-report/1"
EMBEDDED = "embedded"
"""What chaoskit's own evaluator and router of alerts call themselves."""
FOLDER = "fault-reports"
"""Where the reports of a scenario lie, in its folder."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts of a report."""


class Fired(Part, frozen=True, kw_only=True):
    """The alert, as it was delivered. ``deliveries`` counts its notifications so far.

    ``source`` is whose form the notification had (``prometheus``, ``alertmanager`` or ``application``), ``served_by``
    what really sent it: a server with its version, or ``embedded`` for chaoskit's stand-in; empty where chaoskit did
    not start the sender.
    """

    name: str
    severity: str
    fingerprint: str
    source: str
    served_by: str
    delivered: str
    starts_at: str
    resolved: str | None
    deliveries: int
    labels: dict[str, str]
    annotations: dict[str, str]


class Failure(Part, frozen=True, kw_only=True):
    """A request that failed, or that was answered by a ``fallback`` while a fault was active.

    ``trace_id`` is empty where none could be found.
    """

    time: str
    operation: str
    method: str
    path: str
    status: int | None
    error: str
    fallback: bool
    request_id: str
    trace_id: str


class Line(Part, frozen=True, kw_only=True):
    """A log line."""

    time: str
    service: str
    stream: str
    line: str


class Logs(Part, frozen=True, kw_only=True):
    """The last lines before the report, oldest first. ``omitted`` counts those left out for want of room."""

    seconds: float
    omitted: int
    lines: list[Line]


class Metric(Part, frozen=True, kw_only=True):
    """The latest value of a metric, and its value before the first fault (null where there is none).

    ``of_rule`` tells that the rule of the alert asks for this metric.
    """

    service: str
    name: str
    time: str
    value: float | None
    before: float | None
    of_rule: bool


class FaultWindow(Part, frozen=True, kw_only=True):
    """A fault of the scenario. ``ended`` is null while it is active; ``touched`` is told when it has ended."""

    name: str
    kind: str
    target: str
    started: str
    planned_end: str
    ended: str | None
    touched: str | None


class Moment(Part, frozen=True, kw_only=True):
    """One entry of the timeline."""

    time: str
    what: str


class Step(Part, frozen=True, kw_only=True):
    """One step of an SOP, with all its attempts."""

    action: str
    target: str
    outcome: Literal["done", "failed", "open"]
    attempts: int
    started: str
    ended: str
    detail: str


class Procedure(Part, frozen=True, kw_only=True):
    """What an SOP did, or why it did nothing."""

    sop: str
    action_type: str
    target_service: str
    priority: str
    runner: str
    outcome: Literal["queued", "running", "done", "failed", "skipped", "open"]
    queued: str
    started: str | None
    ended: str | None
    attempts: int
    escalated: str
    detail: str
    steps: list[Step]


class FaultReport(Part, frozen=True, kw_only=True):
    """The report of one incident: written when its alert was delivered, completed when its SOPs have ended.

    ``metrics`` are those that the alert's rule asks for, then those that changed most; ``metrics_omitted`` counts the
    others.
    """

    format: Literal["chaoskit/fault-report/1"]
    incident: str
    time: str
    written: str
    scenario: str
    environment: str
    service: str
    severity: str
    summary: str
    alert: Fired
    trace_ids: list[str]
    failures: list[Failure]
    logs: Logs
    metrics: list[Metric]
    metrics_omitted: int
    faults: list[FaultWindow]
    timeline: list[Moment]
    sops: list[Procedure]


def fault_report_schema() -> dict[str, Any]:
    """The JSON Schema of a report."""
    schema = msgspec.json.schema(FaultReport)
    definitions = schema["$defs"]
    whole = definitions.pop("FaultReport")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "chaoskit fault report",
        "$defs": definitions,
    }


def decode(text: bytes) -> FaultReport:
    """A report read back. Raises BrokenError when it is none, or not as its schema says."""
    try:
        return msgspec.json.decode(text, type=FaultReport)
    except msgspec.DecodeError as error:
        raise BrokenError(f"no fault report: {error}") from None
