"""The words of a result: its message, and the description. Service text in them is escaped and without secrets."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chaoskit.expectations.base import Outcome
from chaoskit.mask import mask
from chaoskit.reporters import summary
from chaoskit.units import format_duration

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.expectations.base import Finding

SHOWN = 5
"""Findings in a message; all stand in the description and the steps."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")

NOT_CAUGHT = "CONTROL NOT CAUGHT"


def clean(text: str) -> str:
    """Without secrets, colours and other control characters: Allure shows such text as it stands."""
    return mask(_CONTROL.sub("", text.replace("\r\n", "\n")))


def message(result: Result) -> str:
    """What failed, in a few lines; the first begins with the verdict, which the categories are made from."""
    verdict, control = result.verdict, result.control
    if control is not None:
        first = "BROKEN" if verdict.outcome is Outcome.BROKEN else NOT_CAUGHT
    else:
        first = str(verdict.outcome).upper()
    lines = [f"{first}: {result.scenario.name}"]
    if control is not None or verdict.outcome in (Outcome.BROKEN, Outcome.VACUOUS):
        lines.append(control.reason if control else verdict.reason)
    failed = verdict.failed() if control is None else []
    lines += [sentence(judged.finding) for judged in failed[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"and {len(failed) - SHOWN} more")
    return clean("\n".join(lines))


def sentence(finding: Finding) -> str:
    """``during.price.p95: expected < 200ms, seen 306ms in 121 samples; worst second: ...``."""
    text = f"{finding.id}: expected {finding.expected}, seen {finding.seen}"
    text += f" in {finding.samples} samples" if finding.samples else ""
    return f"{text}; {finding.worst}" if finding.worst else text


def description(result: Result, reproduce: str, faults: Iterable[str]) -> str:
    """The description as HTML: what failed, when and why, and how to see it again."""
    return "".join(_description(result, reproduce, faults))


def _description(result: Result, reproduce: str, faults: Iterable[str]) -> Iterator[str]:
    short, model = summary.of(result), result.scenario.model
    yield f"<p><b>{_safe(short['outcome'].upper())}</b>: {_lines(short['reason'])}</p>"
    if model.description:
        yield f"<p>{_lines(model.description.strip())}</p>"
    judged = [*result.verdict.failed(), *(each for each in result.verdict.findings if each.finding.held)]
    if judged:
        yield _table(
            ("", "finding", "expected", "seen", "samples", "worst", "line"),
            (
                (
                    each.finding.outcome,
                    each.finding.id,
                    each.finding.expected,
                    each.finding.seen,
                    each.finding.samples,
                    each.finding.worst,
                    each.line,
                )
                for each in judged
            ),
        )
    items = [*faults, *_recovery(result)]
    yield "<ul>" + "".join(f"<li>{_safe(item)}</li>" for item in items) + "</ul>" if items else ""
    if reproduce:
        yield f"<p>Run it again:</p><pre>{_safe(reproduce)}</pre>"


def _recovery(result: Result) -> Iterator[str]:
    verdict = result.verdict
    if verdict.outcome is not Outcome.BROKEN:
        recovery = "never" if verdict.recovery is None else f"{format_duration(verdict.recovery)} after the last fault"
        yield f"steady state held again: {recovery}; {verdict.samples} requests; seed {result.seed}"


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [f"<tr>{''.join(f'<th align="left">{_safe(cell)}</th>' for cell in head)}</tr>"]
    for outcome, *cells in rows:
        first = _safe(outcome) if outcome == "held" else f"<b>{_safe(outcome)}</b>"
        lines.append(f"<tr><td>{first}</td>{''.join(f'<td>{_safe(cell)}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _safe(value: Any) -> str:
    return html.escape(clean(str(value)))


def _lines(text: str) -> str:
    return _safe(text).replace("\n", "<br>")
