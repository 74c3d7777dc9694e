"""One scenario as the page shows it: the record, and what lies beside it in its folder."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chaoskit.base.mask import mask
from chaoskit.base.units import counted
from chaoskit.engine.run_folder import META, read_meta
from chaoskit.history.files import read_kept
from chaoskit.history.rows import Fault, Phase
from chaoskit.judge.consequences import folded
from chaoskit.language.names import mapping
from chaoskit.report import sources
from chaoskit.report.figures.style import SIGN
from chaoskit.report.html import incidents, pictures
from chaoskit.report.html.clean import clip
from chaoskit.report.html.logs import MOST, ServiceLog
from chaoskit.report.html.logs import read as read_logs
from chaoskit.report.html.rows import rows
from chaoskit.report.runs import Recorded
from chaoskit.report.score import WEIGHTS

SIGNS = {
    "held": SIGN["held"], "caught": SIGN["held"], "violated": SIGN["violated"], "not caught": SIGN["violated"],
    "vacuous": SIGN["vacuous"], "inconclusive": SIGN["inconclusive"],
    "broken": SIGN["broken"], "invalid": SIGN["broken"], "skipped": "–",
}  # fmt: skip
"""Beside each outcome's colour and word, as in the figures."""

SOURCE_LENGTH = 6000
_FILES = ("scenario.chaos.yaml", "verdict.json", "run.json", "logs.jsonl", "timeline.svg", "retries.svg")


@dataclass(frozen=True)
class FindingLine:
    """A finding with the text of the line that asked for it, and the findings that ``follow`` from it."""

    finding: Mapping[str, Any]
    source: str
    follow: Sequence[FindingLine] = ()


@dataclass(frozen=True)
class Before:
    """An attempt before the last: its folder, where that is, what it came to and why."""

    name: str
    link: str
    outcome: str
    why: str


@dataclass
class Card:
    """A scenario on the page. ``anchor`` is its address (``#anchor``), ``links`` lead to its files.

    ``file`` is what its lines are lines of, ``before`` the attempts before the last. ``no_fallback`` are operations
    that declare no fallback to be recognised.
    """

    recorded: Recorded
    anchor: str
    failed: Sequence[FindingLine] = ()
    held: Sequence[FindingLine] = ()
    when: str = ""
    source: str = ""
    file: str = sources.COPY
    no_fallback: Sequence[str] = ()
    pictures: list[pictures.Picture] = field(default_factory=list)
    logs: Sequence[ServiceLog] = ()
    incidents: incidents.Incidents | None = None
    zero: float = 0.0
    links: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[Before] = ()
    lines: int = MOST

    @property
    def excerpts(self) -> list[tuple[ServiceLog, Sequence[tuple[float, str]]]]:
        """The logs with the lines that are shown: ``lines`` of each if the scenario failed, else a third of that."""
        most = max(self.lines // 3, 1) if self.recorded.passed else self.lines
        return [(log, log.excerpt(most)) for log in self.logs]

    @property
    def sign(self) -> str:
        """Of the outcome."""
        return SIGNS[self.recorded.outcome]

    @property
    def shell_folder(self) -> str:
        """The folder for a command line."""
        return shell_path(self.recorded.folder or Path())

    @property
    def searched(self) -> str:
        """What a search looks through, besides what is seen."""
        recorded = self.recorded
        return " ".join([recorded.slug, recorded.file, recorded.nodeid, recorded.case, recorded.owner, *recorded.tags])


def order(recorded: Iterable[Recorded]) -> list[Recorded]:
    """What needs attention first, the most severe before the others; then what held, what was caught, was skipped."""
    ranks = list(SIGNS)
    severities = list(WEIGHTS)

    def key(one: Recorded) -> tuple[Any, ...]:
        failed = not one.passed and not one.skipped
        return (
            not failed,
            severities.index(one.severity) if failed and one.severity in severities else 0,
            one.control,
            ranks.index(one.outcome),
            one.key,
        )

    return sorted(recorded, key=key)


def cards(recorded: Iterable[Recorded], page: Path) -> list[Card]:
    """A card for each, in order. ``page`` is the file of the page, which links are relative to."""
    taken: set[str] = set()
    return [_card(one, _anchor(one, taken), page) for one in order(recorded)]


def _card(one: Recorded, anchor: str, page: Path) -> Card:
    card = Card(one, anchor)
    folder = one.folder
    if folder is None:
        return card
    faults, phases = list(rows(folder, Fault)), list(rows(folder, Phase))
    if faults or phases:
        card.zero = min(row.started for row in faults or phases)
    text = mask(_text(folder))
    lines = [line.strip() for line in text.split("\n")]
    failed = [_with_source(finding, lines) for finding in one.failed]
    causes = folded(failed, lambda line: line.finding["id"], lambda line: line.finding.get("because", ""))
    card.failed = [replace(cause, follow=follow) for cause, follow in causes]
    card.held = [_with_source(finding, lines) for finding in one.findings if finding["outcome"] == "held"]
    card.when = _when(one, phases)
    card.source = clip(text, SOURCE_LENGTH)
    card.file = sources.place(folder, one.file, one.nodeid) or sources.COPY
    if one.operations:
        traffic = mapping(sources.data(folder), "traffic")
        card.no_fallback = [op for op in one.operations if op in traffic and not mapping(traffic, op).get("fallback")]
    card.pictures = pictures.of(folder)
    card.logs = read_logs(folder, card.zero)
    card.incidents = incidents.of(folder)
    card.before = list(_before(folder, page))
    links = {"folder": link(folder, page) + "/"}
    links |= {name: link(folder / name, page) for name in _FILES if (folder / name).exists()}
    card.links = links
    return card


def _before(folder: Path, page: Path) -> Iterator[Before]:
    if not (folder / META).exists():  # of a record alone
        return
    for number, attempt in enumerate(read_meta(folder).attempts or (), 1):
        kept = folder / f"attempt-{number}"
        yield Before(kept.name, link(kept, page) + "/" if kept.is_dir() else "", attempt.outcome, mask(attempt.why))


def link(target: Path, page: Path) -> str:
    """The address of a file, relative to the page. It begins with a dot, so no name can be taken for a scheme."""
    relative = os.path.relpath(target, page.parent)
    return quote(relative if relative.startswith("..") else f"./{relative}")


def shell_path(path: Path) -> str:
    """A path for a command line: from where pytest was started, if it lies below."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _anchor(one: Recorded, taken: set[str]) -> str:
    name = anchor = re.sub(r"[^a-z0-9-]+", "-", one.name.lower()).strip("-") or "scenario"
    number = 1
    while anchor in taken:
        number += 1
        anchor = f"{name}-{number}"
    taken.add(anchor)
    return anchor


def _with_source(finding: Mapping[str, Any], lines: Sequence[str]) -> FindingLine:
    line = finding["line"]
    return FindingLine(finding, lines[line - 1] if 0 < line <= len(lines) else "")


def _when(one: Recorded, phases: Sequence[Phase]) -> str:
    """When it went wrong, in the words of the timeline; 0 s is when the first fault began."""
    if one.passed:
        return ""
    if one.outcome == "broken" and not one.unread:
        return f"after the phase “{phases[-1].name}”" if phases else "before the first request"
    return "; ".join(
        f"{fault['name']} ({fault['kind']} on {fault['target']}) from {fault['started']:+.1f} s to "
        f"{fault['ended']:+.1f} s, touched {counted(fault['touched'], fault['unit'])}"
        for fault in one.faults
    )


def _text(folder: Path) -> str:
    """What was run; empty where the copy is missing or cannot be read."""
    try:
        return read_kept(folder, sources.COPY).decode("utf-8", "replace")
    except OSError:
        return ""


def evidence(data: Mapping[str, Any]) -> str:
    """A fault's evidence in one line."""
    from chaoskit.report.summary import flat

    return ", ".join(f"{name}={_plain(value)}" for name, value in flat(data))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
