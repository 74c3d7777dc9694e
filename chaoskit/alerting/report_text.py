"""A fault report as Markdown. What services and alerts say stays text: it closes no block and opens no table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from chaoskit.alerting.fault_report import EMBEDDED, Failure, FaultReport, Fired, Procedure
from chaoskit.base.units import counted


def markdown(report: FaultReport) -> str:
    """The report, for people."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: FaultReport) -> Iterator[str]:
    alert = report.alert
    yield f"# {_cell(report.severity or 'no severity')} {_cell(alert.name)}: {_cell(report.service or 'no service')}"
    yield ""
    yield _cell(report.summary)
    yield ""
    yield from _table(
        ("", ""),
        [
            ("incident", report.incident),
            ("time", report.time),
            ("resolved", alert.resolved or "not yet"),
            ("service", report.service),
            ("severity", report.severity),
            ("scenario", f"{report.scenario} ({report.environment})"),
            ("delivered by", f"{sender(alert)}, {counted(alert.deliveries, 'times')}"),
            ("labels", ", ".join(f"{name}={value}" for name, value in alert.labels.items())),
            ("trace ids", ", ".join(report.trace_ids) or "none found"),
            *((name, value) for name, value in alert.annotations.items() if name != "summary"),
        ],
    )
    yield from _section("What the SOPs did", "No SOP was started.", report.sops)
    if report.sops:
        yield from _table(
            ("SOP", "action", "target", "priority", "outcome", "started", "ended", "why"),
            [
                (
                    sop.sop, sop.action_type, sop.target_service, sop.priority, sop.outcome, sop.started or "",
                    sop.ended or "", why(sop),
                )
                for sop in report.sops
            ],
        )  # fmt: skip
    if any(sop.steps for sop in report.sops):
        yield ""
        yield from _table(
            ("SOP", "step", "action", "target", "tries", "result", "started", "ended", "what"),
            [
                (
                    sop.sop, str(number), step.action, step.target, str(step.attempts), step.outcome, step.started,
                    step.ended, step.detail,
                )
                for sop in report.sops
                for number, step in enumerate(sop.steps, 1)
            ],
        )  # fmt: skip
    yield from _section("Faults", "None.", report.faults)
    if report.faults:
        yield from _table(
            ("fault", "kind", "target", "from", "to", "touched"),
            [
                (fault.name, fault.kind, fault.target, fault.started, fault.ended or "active", fault.touched or "")
                for fault in report.faults
            ],
        )
    yield from _section("Timeline", "Empty.", report.timeline)
    if report.timeline:
        yield from _table(("time", "what"), [(moment.time, moment.what) for moment in report.timeline])
    yield from _section("Failing requests, and answers of a fallback", "None.", report.failures)
    if report.failures:
        yield from _table(
            ("time", "operation", "request", "answer", "trace id"),
            [
                (
                    failure.time, failure.operation, f"{failure.method} {failure.path}", answer(failure),
                    failure.trace_id,
                )
                for failure in report.failures
            ],
        )  # fmt: skip
    yield from _section("Metrics", "None.", report.metrics)
    if report.metrics:
        yield from _table(
            ("service", "metric", "value", "before the fault", "the rule asks for it"),
            [
                (metric.service, metric.name, number(metric.value), number(metric.before), _yes(metric.of_rule))
                for metric in report.metrics
            ],
        )
    if report.metrics_omitted:
        yield ""
        yield f"{counted(report.metrics_omitted, 'others')} not shown: not asked for by the rule, or changed less."
    yield from _section(f"Logs of the last {report.logs.seconds:g} s", "None.", report.logs.lines)
    if report.logs.omitted:
        yield f"{counted(report.logs.omitted, 'lines')} not shown."
        yield ""
    if report.logs.lines:
        text = [f"{line.time} {line.service} {line.line}".replace("\n", " ") for line in report.logs.lines]
        fence = "`" * max(3, 1 + max((len(run) for line in text for run in re.findall("`+", line)), default=0))
        yield from (f"{fence}text", *text, fence)


def sender(alert: Fired) -> str:
    """What delivered the alert, for people."""
    if alert.served_by == EMBEDDED:
        return f"chaoskit's embedded stand-in for {alert.source}"
    return alert.served_by or alert.source


def why(sop: Procedure) -> str:
    """Why an SOP did nothing, or failed and to whom that was told; empty where its steps tell all."""
    reason = sop.detail if sop.outcome in ("skipped", "failed", "open") else ""
    return "; ".join(filter(None, (reason, sop.escalated and f"escalated to {sop.escalated}")))


def answer(failure: Failure) -> str:
    """What a request was answered with."""
    told = failure.error or str(failure.status)
    return f"{told}, fallback" if failure.fallback else told


def _section(title: str, empty: str, content: Iterable[object]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    if not content:
        yield empty


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    """Text that is only text in Markdown, on one line."""
    plain = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", plain)


def number(value: float | None) -> str:
    """A metric's value; empty where there is none."""
    if value is None:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _yes(told: bool) -> str:
    return "yes" if told else ""
