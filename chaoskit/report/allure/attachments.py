"""What lies beside a result: figures, the scenario, findings, fault reports, alerts, logs and the history. Bounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chaoskit.alerting.fault_report import FOLDER
from chaoskit.base.mask import mask_values
from chaoskit.base.units import counted
from chaoskit.history import rows as r
from chaoskit.history.files import files_in, open_kept, read_object, write_kept
from chaoskit.report.allure.words import clean
from chaoskit.report.figures.facts import Facts
from chaoskit.system.priority import at_last

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.report.figures import Saved

LIMIT = 128 * 1024
"""Bytes of one attachment of text; what is cut says so, and lies whole in the run's folder."""

REPORTS = 20
"""Fault reports attached of one scenario."""

_LOUD = {"samples", "connections", "logs", "schedules", "reads"}
"""Kinds of rows that are not attached: figures and logs show them, and they are long."""


def attach_all(result: Result, reproduce: str, drawn: Sequence[Saved] = ()) -> None:
    """Attach everything to the running Allure test, the pictures of ``drawn`` first."""
    import allure

    attach: Any = allure.attach  # ships no types
    kinds = allure.attachment_type
    for figure in drawn:
        if figure.svg is None:
            _text(figure.error, _missing(figure), kinds.TEXT)
        else:
            attach.file(str(figure.svg), name=figure.name, attachment_type=kinds.SVG)
    _text(f"{reproduce}\n# seed {result.seed}\n", "run it again", kinds.TEXT)
    if result.verdict.findings:
        _text(_findings(result), "findings", kinds.CSV)
    for name, file in (
        (result.scenario.file.name, result.folder / "scenario.chaos.yaml"),
        ("environment.yaml", result.folder / "environment.yaml"),
    ):
        if file.exists():
            _text(_head(file), name, kinds.YAML)
    for file in _fault_reports(result.folder):
        # Markdown as plain text: Allure would render it, and what services wrote stands in it. So is JSON that is cut.
        whole = file.suffix == ".json" and file.stat().st_size <= LIMIT
        _text(_head(file), f"fault report {file.name}", kinds.JSON if whole else kinds.TEXT)
    if changes := _alerting_changes(result.folder):
        _text("\n".join(changes), "alerting: changed for the rehearsal", kinds.TEXT)
    for service, text in _logs(result):
        _text(text, f"log of {service}", kinds.TEXT)
    # Through JSON once: what it cannot hold as it is becomes text, which is masked.
    verdict = json.loads(json.dumps(result.verdict.as_dict(), default=str))
    _text(json.dumps(mask_values(verdict), indent=1), "verdict.json", kinds.JSON)
    for name in r.KINDS:
        file = result.folder / f"{name}.jsonl"
        if name not in _LOUD and file.exists() and file.stat().st_size:
            _text(_rows(file), f"history: {name.replace('_', ' ')}", kinds.TEXT)
    for figure in drawn:
        if figure.png is not None:
            attach.file(str(figure.png), name=f"{figure.name} (PNG)", attachment_type=kinds.PNG)


def draw(result: Result) -> list[Saved]:
    """The pictures, made at the lowest priority and kept in the scenario's folder."""
    from chaoskit.report import figures

    note = f"control, run with the protection off: {result.control.reason}" if result.control else ""
    return at_last(lambda: figures.save(result.scenario, result.history, result.verdict, result.folder, note=note))


def timeline(drawn: Iterable[Saved]) -> bytes | None:
    """The timeline as SVG, if there is one."""
    return next((figure.svg.read_bytes() for figure in drawn if figure.svg and figure.name == "timeline"), None)


def attach_later(results: Path, attachments: list[dict[str, str]], drawn: Iterable[Saved]) -> list[dict[str, str]]:
    """Lay pictures into a folder of Allure results. Gives a test's ``attachments`` with them, as results have them."""
    first, last = [], []
    for figure in drawn:
        if figure.svg is None or figure.png is None:
            first.append(_laid(results, clean(figure.error).encode(), _missing(figure), "text/plain", "txt"))
            continue
        first.append(_laid(results, figure.svg.read_bytes(), figure.name, "image/svg+xml", "svg"))
        last.append(_laid(results, figure.png.read_bytes(), f"{figure.name} (PNG)", "image/png", "png"))
    return [*first, *attachments, *last]


def _laid(results: Path, data: bytes, name: str, mime: str, extension: str) -> dict[str, str]:
    from allure_commons.model2 import ATTACHMENT_PATTERN

    source = ATTACHMENT_PATTERN.format(prefix=uuid4(), ext=extension)
    write_kept(results / source, data)
    return {"name": name, "source": source, "type": mime}


def _missing(figure: Saved) -> str:
    return f"{figure.name}: no picture"


def _alerting_changes(folder: Path) -> list[str]:
    """What a team's rules and routing were changed in, in the copies that the rehearsal ran."""
    meta = read_object(folder, "run.json") if (folder / "run.json").exists() else {}
    return list((meta.get("alerting") or {}).get("changes", ()))


def _text(text: str, name: str, kind: Any) -> None:
    import allure

    allure.attach(clean(text), name=name, attachment_type=kind)


def _findings(result: Result) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["finding", "outcome", "expected", "seen", "samples", "worst", "line"])
    for judged in result.verdict.findings:
        found = judged.finding
        table.writerow([found.id, found.outcome, found.expected, found.seen, found.samples, found.worst, judged.line])
    return out.getvalue()


def _fault_reports(folder: Path) -> list[Path]:
    return [file for file in files_in(folder / FOLDER, "*") if file.suffix in (".json", ".md")][:REPORTS]


def _logs(result: Result) -> Iterator[tuple[str, str]]:
    """The last lines of each service, each with its time on the figure's axis."""
    facts = Facts(result.scenario, result.history, result.verdict)
    logs: dict[str, list[str]] = {}
    for row in result.history.rows(r.Log):
        logs.setdefault(row.service, []).append(f"{facts.at(row.at):+9.3f} s  {row.line}")
    for service, lines in sorted(logs.items()):
        yield service, _tail(lines)


def _tail(lines: list[str]) -> str:
    """The last lines that fit."""
    size, first = 0, len(lines)
    while first and size + len(lines[first - 1]) < LIMIT:
        first -= 1
        size += len(lines[first]) + 1
    cut = [f"({counted(first, 'earlier lines')} cut; logs.jsonl has all)"] if first else []
    return "\n".join([*cut, *lines[first:]])


def _rows(file: Path) -> str:
    """The first rows of a history. Each is masked as data: in JSON's own quotes a secret would not be seen."""
    return "\n".join(_masked(line) for line in _head(file).splitlines())


def _masked(line: str) -> str:
    try:
        return json.dumps(mask_values(json.loads(line)), ensure_ascii=False)
    except ValueError:
        return line


def _head(file: Path) -> str:
    """The file, or as many whole lines of it as fit."""
    try:
        with open_kept(file.parent, file.name) as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        return f"({file.name} cannot be read: {error.strerror})"
    if len(data) <= LIMIT:
        return data.decode("utf-8", "replace")
    return data[:LIMIT].rpartition(b"\n")[0].decode("utf-8", "replace") + f"\n(cut; the whole lies in {file.name})"
