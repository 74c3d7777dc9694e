"""The page itself: data, template, Content-Security-Policy, and a size that can be mailed."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaoskit.alerting.report_text import answer, number, sender, why
from chaoskit.base.units import counted, format_duration, format_ratio
from chaoskit.history.files import write_kept
from chaoskit.report.html import trend as trends
from chaoskit.report.html.card import SIGNS, Card, cards, evidence, link, shell_path
from chaoskit.report.html.clean import clean, clip
from chaoskit.report.html.logs import MOST
from chaoskit.report.html.pictures import fit
from chaoskit.report.runs import Recorded
from chaoskit.report.score import WEIGHTS, score, told, weigh

NAME: Final = "chaoskit.html"
"""The page's file in the reports folder."""

LIMIT: Final = 2_000_000
"""Bytes. Figures that would make the page larger are left out, those of what failed last."""

REPORTS: Final = 40
"""Fault reports on the page, those of what failed first. The others, and those of many in one scenario, are linked."""

_LINES: Final = (MOST, MOST // 3, MOST // 10)
"""Log lines a service of a failed scenario gets; fewer where logs would take more than an eighth of the page."""


def write_page(
    recorded: Sequence[Recorded], file: Path, *, trend: Sequence[tuple[str, float]] = (), reports: Path
) -> None:
    """Write one page about a run to ``file``, in place of what was there.

    ``trend`` are labels and scores of the last runs and this one, oldest first, all over this one's scenarios; empty
    where there is no history. ``reports`` is the folder of all reports. A figure, log or report of a folder that is
    missing or cannot be read is left out; raises OSError when ``file`` cannot be written.
    """
    shown = cards(recorded, file)
    _shorten_logs(shown)
    for entry in [entry for card in shown if card.incidents for entry in card.incidents.reports if entry.report][
        REPORTS:
    ]:
        entry.report = None
    left_out = 0
    text = _render(shown, recorded, file, trend, reports, left_out)
    embedded = [picture for card in shown for picture in card.pictures if picture.url]
    if len(text.encode()) > LIMIT:
        room = LIMIT - len(text.encode()) + sum(len(picture.url) for picture in embedded)
        # What the page then says in place of each picture takes a few bytes too.
        left_out = fit(embedded, room - 300 * len(embedded) - 200)
        text = _render(shown, recorded, file, trend, reports, left_out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_kept(file, text)


def _shorten_logs(shown: Sequence[Card]) -> None:
    """As many lines as leave the page to the figures."""
    for lines in _LINES:
        for card in shown:
            card.lines = lines
        if sum(len(text) + 60 for card in shown for _, kept in card.excerpts for _, text in kept) < LIMIT // 8:
            break


def _render(
    shown: Sequence[Card],
    recorded: Sequence[Recorded],
    file: Path,
    trend: Sequence[tuple[str, float]],
    reports: Path,
    left_out: int,
) -> str:
    counts = Counter(one.outcome for one in recorded)
    environment = _environment()
    style, script = _source("page.css"), _source("page.js")
    text: str = environment.get_template("page.html.j2").render(
        cards=shown,
        attention=[card for card in shown if not card.recorded.passed and not card.recorded.skipped],
        counts=[(outcome, counts[outcome]) for outcome in SIGNS if counts[outcome]],
        choices=_choices(recorded),
        run=_run(recorded),
        score=told(score(recorded)),
        trend=trends.trend(trend),
        weighed=len(weigh(recorded)),
        measures=trends,
        left_out=left_out,
        link=lambda target: link(target, file),
        allure=_allure(reports),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return text


@dataclass(frozen=True)
class AllureReport:
    """The ``command`` that builds and opens it, and its first page if one was built: that works only when served."""

    command: str
    page: Path | None


def _allure(reports: Path) -> AllureReport | None:
    """None where there are no results of Allure."""
    built = reports / "allure-report" / "index.html"
    if not built.exists() and not (reports / "allure-results").is_dir():
        return None
    usual = reports.resolve() == Path("reports").resolve()
    command = "chaoskit report --open" + ("" if usual else f" --reports {shell_path(reports)}")
    return AllureReport(command, built if built.exists() else None)


def _run(recorded: Sequence[Recorded]) -> list[tuple[str, str]]:
    """Facts about the run as a whole; what differs between scenarios is told with all its values."""
    started = sorted(one.started for one in recorded if one.started)
    several = {
        "seed": [str(one.seed) for one in recorded if one.seed is not None],
        "Toxiproxy": [one.toxiproxy for one in recorded],
        "runtime": [one.runtime for one in recorded],
        "alerting": [one.alerting for one in recorded],
        "chaoskit": [one.chaoskit for one in recorded],
        "Python": [one.python for one in recorded],
    }
    facts = [("started", started[0].replace("T", " ") if started else "")]
    facts += [(name, ", ".join(_distinct(values))) for name, values in several.items()]
    facts.append(("scenarios took", format_duration(sum(one.wall for one in recorded))))
    return [(name, clip(value, 200)) for name, value in facts if value]


def _distinct(values: Sequence[str]) -> list[str]:
    """Each once; not what only says less than another (a broken scenario does not know its Toxiproxy's version)."""
    known = [value for value in dict.fromkeys(values) if value]
    return [value for value in known if not any(other.startswith(value + " ") for other in known)]


def _choices(recorded: Sequence[Recorded]) -> dict[str, list[str]]:
    """What can be filtered by: only what occurs."""
    severities = {one.severity for one in recorded}
    return {
        "severity": [severity for severity in WEIGHTS if severity in severities],
        "owner": sorted({one.owner for one in recorded if one.owner}),
        "tag": sorted({tag for one in recorded for tag in one.tags}),
    }


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chaoskit.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["signs"] = SIGNS
    environment.filters |= {
        "duration": lambda value: "–" if value is None else format_duration(value),
        "ratio": lambda value: "–" if value is None else format_ratio(value),
        "offset": lambda value: f"{value:+.2f}\u00a0s",
        "evidence": lambda value: clip(evidence(value), 400),
        "clip": clip,
        "counted": counted,
        "sender": sender,
        "why": why,
        "answer": answer,
        "value": number,
    }
    return environment


def _final(value: Any) -> Any:
    """The last step before escaping, for everything that comes from outside the templates."""
    return clean(value) if type(value) is str else value


def _source(name: str) -> Any:
    from importlib.resources import files

    from markupsafe import Markup

    return Markup(files("chaoskit.report.html").joinpath("templates", name).read_text("utf-8"))  # noqa: S704 -- our own files


def _hash(text: str) -> str:
    """As a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
