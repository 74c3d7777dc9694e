"""The gate's answer for people and machines: text, Markdown (also into a GitHub job's summary), JSON, JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from chaoskit.base.errors import ChaosError
from chaoskit.history.files import write_kept
from chaoskit.report.score import told
from chaoskit.report.shorten import gist
from chaoskit.trend.gate.decision import BLOCKED, INCONCLUSIVE, NOTHING, PASSED, Decision

SUMMARY = "GITHUB_STEP_SUMMARY"
_SHOWN = 20
_RUNS = 10
_LENGTH = 240


def text(decision: Decision) -> Iterator[str]:
    """For the terminal."""
    against = f" (baseline {_scores(decision)})" if decision.baseline else ""
    yield f"gate: {decision.decision.upper()}   score {told(decision.score)}{against}   {_counts(decision)}"
    if decision.decision == NOTHING:
        yield f"  {_nothing(decision)}, so nothing can be said"
    for reason in decision.reasons:
        yield from _indented(f"blocks: {reason.text}")
    for failed in decision.failed:
        if not failed.blocks:
            words = f"does not block: {failed.name} ({failed.severity}) is {failed.outcome}: {failed.reason}"
            yield from _indented(words)
    for unstable in decision.unstable:
        yield f"  unstable: {unstable.name}: {', '.join(unstable.outcomes)}"
    for skipped in decision.skipped:
        yield from _indented(f"skipped, does not count: {skipped.name}: {skipped.reason}")
    for note in decision.notes:
        yield f"  note: {note}"


def _nothing(decision: Decision) -> str:
    return "all that was run stayed inconclusive" if INCONCLUSIVE in decision.outcomes else "nothing was run"


def markdown(decision: Decision) -> Iterator[str]:
    """For a CI summary or a comment on a change."""
    sign = {PASSED: "✅", BLOCKED: "⛔", NOTHING: "⚠️", INCONCLUSIVE: "⚠️"}[decision.decision]
    yield f"## {sign} Resilience gate: {decision.decision}"
    yield ""
    line_break = "  " if decision.baseline else ""
    yield f"**Score {told(decision.score)}** of 100, {_counts(decision)}; run `{_cell(decision.run)}`{line_break}"
    if decision.baseline:
        runs = [f"`{_cell(run)}`" for run in decision.baseline.runs]
        shown = ", ".join(runs[:_RUNS]) + (f" and {len(runs) - _RUNS} more" if len(runs) > _RUNS else "")
        yield f"Baseline: {decision.baseline.what}, score {_scores(decision)} ({shown})"
    yield ""
    if decision.decision == NOTHING:
        yield f"{_nothing(decision).capitalize()}, so nothing can be said."
        yield ""
    if decision.reasons:
        yield "### What blocks"
        yield ""
        yield from _listed([_lines(reason.text) for reason in decision.reasons])
    if decision.failed:
        yield "### What failed"
        yield ""
        yield "| scenario | severity | outcome | why | blocks |"
        yield "|---|---|---|---|---|"
        for each in decision.failed[:_SHOWN]:
            blocks = "yes" if each.blocks else "no"
            yield f"| {_cell(each.name)} | {each.severity} | {each.outcome} | {_lines(each.reason)} | {blocks} |"
        if len(decision.failed) > _SHOWN:
            yield f"| and {len(decision.failed) - _SHOWN} more | | | | |"
        yield ""
        commands = [each.reproduce for each in decision.failed if each.reproduce]
        if commands:
            yield "Run one again:"
            yield ""
            yield from (f"    {_line(command)}" for command in commands[:_SHOWN])
            yield ""
    if decision.unstable:
        yield "### Unstable"
        yield ""
        yield from _listed([f"{_cell(each.name)}: {', '.join(each.outcomes)}" for each in decision.unstable])
    if decision.skipped:
        yield "### Skipped, does not count"
        yield ""
        yield from _listed([f"{_cell(each.name)}: {_lines(each.reason)}" for each in decision.skipped])
    if decision.notes:
        yield from _listed([_cell(note) for note in decision.notes])


def junit(decision: Decision) -> bytes:
    """One test suite: a case for each check that the gate makes, so that CI shows the gate beside the tests."""
    checks = {
        "invalid": "every scenario file could be read",
        "severity": "no scenario of a blocking severity failed",
        "inconclusive": "the machine left no scenario of a blocking severity inconclusive",
        "min_score": "the score is high enough",
        "score": "the score did not fall",
        "recovery": "no recovery became slower",
        "p99": "no p99 under faults became slower",
    }
    suite = ElementTree.Element("testsuite", name="chaoskit gate", tests=str(len(checks)), errors="0")
    failures = skipped = 0
    for check, words in checks.items():
        case = ElementTree.SubElement(suite, "testcase", classname="chaoskit.gate", name=words, time="0")
        reasons = [reason.text for reason in decision.reasons if reason.check == check]
        if reasons:
            failures += 1
            message = " ".join(map(_line, gist(reasons[0])))
            lines = [_line(line, indent=True) for reason in reasons for line in reason.splitlines()]
            ElementTree.SubElement(case, "failure", message=message).text = "\n".join(lines)
        elif decision.decision == NOTHING or (check in ("score", "recovery", "p99") and decision.baseline is None):
            skipped += 1
            why = _nothing(decision) if decision.decision == NOTHING else "; ".join(decision.notes) or "no baseline"
            ElementTree.SubElement(case, "skipped", message=_line(why))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def write(decision: Decision, folder: Path, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Write gate.md, gate.json and gate.xml into ``folder``, and append to the job's summary on GitHub.

    Raises ChaosError when one of them cannot be written.
    """
    told_to_people = "\n".join(markdown(decision)).rstrip() + "\n"
    files = {
        folder / "gate.md": told_to_people.encode(),
        folder / "gate.json": decision.model_dump_json(indent=1).encode() + b"\n",
        folder / "gate.xml": junit(decision),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            write_kept(file, data)
        if environ.get(SUMMARY):
            with Path(environ[SUMMARY]).open("a", encoding="utf-8") as summary:
                summary.write(told_to_people + "\n")
    except OSError as error:
        raise ChaosError(f"the gate's report cannot be written: {error}") from None
    return list(files)


def _counts(decision: Decision) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(decision.outcomes.items())) or "no scenario"


def _listed(items: list[str]) -> Iterator[str]:
    for item in items[:_SHOWN]:
        yield f"- {item}"
    if len(items) > _SHOWN:
        yield f"- and {len(items) - _SHOWN} more"
    yield ""


def _scores(decision: Decision) -> str:
    """The baseline's score, and what the run comes to over the same scenarios where that is not its score."""
    baseline = decision.baseline
    if baseline is None or baseline.compared in (None, decision.score):
        return told(baseline.score if baseline else None)
    return f"{told(baseline.score)}, the same scenarios now {told(baseline.compared)}"


def _line(words: str, *, indent: bool = False) -> str:
    """On one line, without what XML and terminals cannot take."""
    line = "".join(char if char.isprintable() else " " for char in words)
    return line.rstrip() if indent else line.strip()


def _short(words: str) -> str:
    words = _line(words)
    return words if len(words) <= _LENGTH else words[: _LENGTH - 4] + " ..."


def _indented(words: str) -> Iterator[str]:
    """What tells most of a text that may have many lines: the first as an item, the cause further in."""
    first, *cause = gist(words)
    yield f"  {_short(first)}"
    yield from (f"      {_short(line)}" for line in cause)


def _lines(words: str) -> str:
    """The same as one cell or item of Markdown."""
    return "<br>".join(map(_cell, gist(words)))


def _cell(words: str) -> str:
    """Text of a service as plain text in Markdown: no table cell, tag, link or code of its own."""
    words = _short(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{char}" if char in "\\|`*_[]!#~" else char for char in words)
