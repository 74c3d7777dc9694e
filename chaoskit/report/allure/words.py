"""The words of a result: its message, and the description. Service text in them is escaped and without secrets."""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chaoskit.base.mask import bare, mask
from chaoskit.base.units import counted
from chaoskit.judge.consequences import folded
from chaoskit.language.expectation import Outcome
from chaoskit.report import summary
from chaoskit.report._hints import circumstances
from chaoskit.report.figures.style import SIGN

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.judge.verdict import Judged
    from chaoskit.language.expectation import Finding

SHOWN = 5
"""Findings in a message; all stand in the description and the steps."""


def clean(text: str) -> str:
    """Without secrets, colours and other control characters: Allure shows such text as it stands."""
    return mask(bare(text.replace("\r\n", "\n")))


def message(result: Result, faults: Iterable[str]) -> str:
    """What failed, in a few lines: the verdict (which the categories are made from) and the worst finding come first.

    Below them stands what else explains it, and what to do. ``faults`` are lines on what was injected, and when.
    """
    verdict, control = result.verdict, result.control
    failed = [] if control is not None else [_told(cause, follow) for cause, follow in causes(verdict.failed())]
    if control is None and verdict.outcome is Outcome.VIOLATED and failed:
        worst = failed.pop(0)
    else:
        worst = control.reason if control else verdict.reason
        # The reason of a vacuous verdict names the finding already.
        failed = [text for text in failed if text.partition(": ")[0] not in worst]
    lines = [
        f"{summary.heading(result)}: {worst}",
        *circumstances(result),
        *itertools.islice(faults, SHOWN),
        *failed[:SHOWN],
    ]
    if len(failed) > SHOWN:
        lines.append(f"and {len(failed) - SHOWN} more")
    return clean("\n".join(lines))


def causes(findings: Iterable[Judged]) -> list[tuple[Judged, list[Judged]]]:
    """Findings, each with those that did not hold because it did not."""
    return folded(
        findings,
        lambda judged: judged.finding.id,
        lambda judged: "" if judged.finding.held else judged.finding.because,
    )


def _told(cause: Judged, follow: Sequence[Judged]) -> str:
    text = sentence(cause.finding)
    return f"{text} ({counted(len(follow), 'more findings')} because of this)" if follow else text


def sentence(finding: Finding) -> str:
    """``during.price.p95: expected < 200ms, seen 306ms in 121 samples; worst second: ...``."""
    text = f"{finding.id}: expected {finding.expected}, seen {finding.seen}"
    if finding.samples and finding.outcome is not Outcome.VACUOUS:  # which says itself how many there were
        text += f" in {counted(finding.samples, 'samples')}"
    return f"{text}; {finding.worst}" if finding.worst else text


def description(result: Result, reproduce: str, faults: Iterable[str], picture: bytes | None) -> str:
    """The description as HTML: what failed, when and why, and how to see it again. ``picture`` is an SVG."""
    return "".join(_description(result, reproduce, faults, picture))


def _description(result: Result, reproduce: str, faults: Iterable[str], picture: bytes | None) -> Iterator[str]:
    short, model = summary.of(result), result.scenario.model
    yield _paragraph(f"<b>{_safe(short['outcome'].upper())}</b>: {_lines(short['reason'])}")
    if model.description:
        yield _paragraph(_lines(model.description.strip()))
    if picture is not None:
        # As an image: a browser runs no script in it. An attachment must be opened first; this is seen at once, in
        # Allure 3. Allure 2 takes it away.
        data = base64.b64encode(picture).decode("ascii")
        yield f'<p><img alt="timeline" width="100%" src="data:image/svg+xml;base64,{data}"></p>'
    judged = [*result.verdict.failed(), *(each for each in result.verdict.findings if each.finding.held)]
    if judged:
        yield _table(judged)
    yield from (_paragraph(_safe(item)) for item in (*faults, *_recovery(result)))
    if reproduce:
        yield _paragraph("Run it again:") + f"<pre>{_safe(reproduce)}</pre>"


def _recovery(result: Result) -> Iterator[str]:
    verdict = result.verdict
    if verdict.outcome is not Outcome.BROKEN:
        again = summary.recovered(verdict.recovery, verdict.sop_recovery)
        yield f"steady state held again: {again}; {counted(verdict.samples, 'requests')}; seed {result.seed}"


def _table(findings: Iterable[Judged]) -> str:
    rows = [_row("th", ("", "finding", "expected", "seen", "line"))]
    for judged in findings:
        found = judged.finding
        told = not found.samples or found.outcome is Outcome.VACUOUS
        seen = found.seen if told else f"{found.seen}, n={found.samples}"
        outcome = f"{SIGN[str(found.outcome)]} {found.outcome}"
        worst = "" if found.held else f"\n{found.worst}"
        rows.append(_row("td", (outcome, found.id, found.expected, f"{seen}{worst}".strip(), judged.line)))
    return f"<table>{''.join(rows)}</table>"


def _row(tag: str, cells: Iterable[Any]) -> str:
    # Allure 2 takes all styles away, and all space between cells with them. Allure 3 breaks no line in a cell and cuts
    # the table at the edge of the page, unless the cell itself says otherwise.
    start = f'<{tag} style="white-space:normal">'
    return "<tr>" + "".join(f"{start}{_lines(str(cell))}&nbsp;&nbsp;</{tag}>" for cell in cells) + "</tr>"


def _paragraph(text: str) -> str:
    return f"<p>{text}</p>"


def _safe(value: Any) -> str:
    return html.escape(clean(str(value)))


def _lines(text: str) -> str:
    return _safe(text).replace("\n", "<br>")
