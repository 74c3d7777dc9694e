"""The table at the end of a run: what became of each scenario, how to run one again, where the reports are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chaoskit.base.units import counted, format_duration

HEAD = ("scenario", "verdict", "recovery", "evidence", "worst finding")
GAP = "  "
NARROWEST = 16
"""Characters of a scenario's name that are shown however narrow the terminal is."""

AGAIN = 5
"""So many commands that run a failed scenario again are shown."""

NAMES = 5
"""So many alerts and SOPs are named below the table."""

COLOURS = {
    "held": "green", "caught": "green", "violated": "red", "not caught": "red", "vacuous": "purple", "broken": "yellow",
    "invalid": "red", "inconclusive": "cyan",
}  # fmt: skip
"""Of the verdicts, in the words of pytest's terminal writer. What a colour says, the word says too."""

Paint = Callable[[str, str], str]
"""Gives a text in a colour, or as it is where there are no colours (``NO_COLOR``, a file, ``--color=no``)."""


def table(
    summaries: Sequence[dict[str, Any]],
    reports: Path,
    swept: Sequence[str],
    *,
    width: int = 80,
    paint: Paint = lambda text, _: text,
) -> Iterator[str]:
    """Lines: every scenario with verdict, recovery, evidence and worst finding; then what to do next.

    ``summaries`` are those of :func:`chaoskit.report.summary.of`, each with its ``nodeid`` and the command line that
    runs it again (``reproduce``). No line of the table is wider than ``width``; commands and paths are never cut.
    """
    ordered = sorted(summaries, key=lambda summary: summary["nodeid"])
    yield from _rows(ordered, width, paint)
    yield ""
    yield from _counts(ordered)
    failed = [summary for summary in ordered if not summary["passed"]]
    if failed:
        yield "run it again:" if len(failed) == 1 else "run one again:"
        yield from (f"  {summary['reproduce']}" for summary in failed[:AGAIN])
        if len(failed) > AGAIN:
            yield f"  (and {len(failed) - AGAIN} more; the page has a command for each)"
    yield from _places(ordered, reports)
    for text in swept:
        yield f"swept from an earlier run: {text}"


def _rows(summaries: Sequence[dict[str, Any]], width: int, paint: Paint) -> Iterator[str]:
    """The table. Where the terminal is too narrow, the worst finding goes into a line of its own."""
    cells = [HEAD, *map(_cells, summaries)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    below = sum(widths) + len(GAP) * 4 > width
    if below:
        widths[3] = max(len(HEAD[3]), min(widths[3], width // 3))
        rest = sum(widths[1:4]) + len(GAP) * 3
        widths[0] = min(widths[0], max(NARROWEST, width - rest))
    for number, row in enumerate(cells):
        shown = [_cut(text, most).ljust(most) for text, most in zip(row, widths, strict=True)]
        verdict = paint(shown[1], COLOURS[row[1]]) if number else shown[1]
        line = GAP.join([shown[0], verdict, *shown[2:4], *([] if below else [row[4]])])
        yield line.rstrip()
        if below and number and row[4]:
            yield _cut(f"    {row[4]}", width)


def _cells(summary: dict[str, Any]) -> tuple[str, str, str, str, str]:
    return (
        summary["nodeid"].rpartition("::")[2],
        summary["outcome"],
        _recovery(summary["recovery"], summary["sop_recovery"]),
        ", ".join(summary["evidence"]) or "-",
        _worst(summary),
    )


def _recovery(recovery: float | None, sop_recovery: float | None) -> str:
    """After the last fault; ``SOP`` marks one that an SOP brought about, counted from the start of the first fault."""
    if sop_recovery is not None:
        return f"SOP {format_duration(sop_recovery)}"
    return "-" if recovery is None else format_duration(recovery)


def _worst(summary: dict[str, Any]) -> str:
    """The finding that failed first; why, where no finding tells (the environment did not start, say)."""
    if summary["passed"]:
        again = f"at attempt {summary['attempts']}" if summary.get("attempts", 1) > 1 else ""
        return ", ".join(filter(None, (summary["worst"] if summary["control"] else "", again)))
    told = "" if summary["control"] else summary["worst"]
    return told or summary["reason"].partition("\n")[0]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _counts(summaries: Sequence[dict[str, Any]]) -> Iterator[str]:
    held = sum(summary["outcome"] == "held" for summary in summaries)
    caught = sum(summary["outcome"] == "caught" for summary in summaries)
    scenarios = sum(not summary["control"] for summary in summaries)
    controls = len(summaries) - scenarios
    line = f"{held} of {counted(scenarios, 'scenarios')} held"
    if invalid := sum(summary["outcome"] == "invalid" for summary in summaries):
        line += f", {invalid} invalid"
    if controls:
        line += f", {caught} of {counted(controls, 'controls')} caught"
    yield f"{line}; {counted(sum(summary['requests'] for summary in summaries), 'requests')}"
    for title, key in (("alerts fired", "alerts"), ("SOPs run", "sops")):
        if names := Counter(name for summary in summaries for name in summary[key]):
            yield f"{title}: {names.total()} ({_most_common(names)})"
    yield f"stability score: {_score(summaries)} of 100"


def _most_common(names: Counter[str]) -> str:
    told = [name if count == 1 else f"{name} {count}×" for name, count in names.most_common(NAMES)]
    return ", ".join(told) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


def _score(summaries: Sequence[dict[str, Any]]) -> str:
    from chaoskit.report.runs import Recorded
    from chaoskit.report.score import score, told

    fields = ("scenario", "slug", "outcome", "reason", "control", "severity", "nodeid")
    return told(score([Recorded(folder=None, **{name: summary[name] for name in fields}) for summary in summaries]))


def _places(summaries: Sequence[dict[str, Any]], reports: Path) -> Iterator[str]:
    """Where the reports are, each only if it is there."""
    from chaoskit.report.html import NAME

    runs = sorted({Path(summary["folder"]).parent for summary in summaries if summary["folder"]})
    places = {"page": [reports / NAME], "Allure results": [reports / "allure-results"], "histories": runs}
    for name, paths in places.items():
        shown = [_short(path) for path in paths if path.exists()]
        if shown:
            after = "   (chaoskit report makes a site of them)" if name == "Allure results" else ""
            yield f"{name}: {', '.join(shown)}{after}"


def _short(path: Path) -> str:
    """From where pytest was started, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
