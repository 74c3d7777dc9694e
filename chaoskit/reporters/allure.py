"""Allure results: labels, phases and faults as steps with their true times, findings, attachments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chaoskit.history import rows as r
from chaoskit.mask import mask
from chaoskit.reporters import summary

if TYPE_CHECKING:
    from chaoskit.engine.session import Result
    from chaoskit.engine.verdict import Judged
    from chaoskit.scenario.model import Scenario

LOG_LINES = 300


def labels(scenario: Scenario, control: bool) -> Iterator[tuple[str, str]]:
    """Values and kinds of Allure's labels for a scenario. Its tags are pytest markers, which Allure takes as tags."""
    model = scenario.model
    yield model.severity, "severity"
    yield "controls" if control else "scenarios", "epic"
    yield scenario.environment.name, "feature"
    yield scenario.name, "story"
    if model.owner:
        yield model.owner, "owner"


def attach(result: Result, listener: Any) -> None:
    """Write a result into the running Allure test. ``listener`` is allure-pytest's own; main thread only."""
    writer = _Writer(result, listener)
    writer.describe()
    writer.steps()
    writer.attachments()


class _Writer:
    def __init__(self, result: Result, listener: Any) -> None:
        self.result = result
        # The listener's logger takes steps with given times; the public API knows only "now".
        self.logger = listener.allure_logger
        meta = json.loads((result.folder / "run.json").read_text(encoding="utf-8"))
        self.offset: float = meta["wall_clock_minus_monotonic"]

    def describe(self) -> None:
        import allure

        text = summary.of(self.result)
        dynamic: Any = allure.dynamic  # ships no types
        model = self.result.scenario.model
        dynamic.description(f"**{text['outcome']}**: {text['reason']}\n\n{model.description}".strip())
        for link in model.links:
            dynamic.link(link)
        dynamic.parameter("seed", self.result.seed, excluded=True)
        for name, value in self.result.scenario.matrix.items():
            dynamic.parameter(name, value)

    def steps(self) -> None:
        from allure_commons.model2 import Status

        history = self.result.history
        for phase in history.of(r.Phase):
            self._step(f"phase {phase.name}", phase.started, phase.ended, Status.PASSED)
        for fault in history.of(r.Fault):
            status = Status.BROKEN if fault.error else Status.PASSED if fault.touched else Status.FAILED
            title = f"fault {fault.name}: {fault.kind} on {fault.target} touched {fault.touched} {fault.unit}"
            self._step(title, fault.started, fault.ended, status, dict(summary.flat(fault.evidence)))
        end = max((phase.ended for phase in history.of(r.Phase)), default=0.0)
        for judged in self.result.verdict.findings:
            self._finding(judged, end)

    def _finding(self, judged: Judged, at: float) -> None:
        from allure_commons.model2 import Status

        finding = judged.finding
        status = {"held": Status.PASSED, "broken": Status.BROKEN}.get(str(finding.outcome), Status.FAILED)
        details = {"expected": finding.expected, "seen": finding.seen, "samples": finding.samples, "line": judged.line}
        if finding.worst:
            details["worst"] = finding.worst
        self._step(f"{finding.outcome}: {finding.id}", at, at, status, details)

    def _step(self, title: str, start: float, end: float, status: str, details: dict[str, Any] | None = None) -> None:
        from allure_commons.model2 import Parameter, TestStepResult

        uuid = str(uuid4())
        parameters = [Parameter(name=key, value=mask(str(value))) for key, value in (details or {}).items()]
        step = TestStepResult(name=mask(title), start=self._milliseconds(start), parameters=parameters)
        self.logger.start_step(None, uuid, step)
        self.logger.stop_step(uuid, stop=self._milliseconds(end), status=status)

    def _milliseconds(self, moment: float) -> int:
        return round((moment + self.offset) * 1000)

    def attachments(self) -> None:
        import allure

        kinds = allure.attachment_type
        result = self.result
        self._figures()
        self._attach(_findings_table(result), "findings.csv", kinds.CSV)
        self._attach(result.scenario.source.text, result.scenario.file.name, kinds.YAML)
        self._attach(json.dumps(result.verdict.as_dict(), indent=1, default=str), "verdict.json", kinds.JSON)
        logs: dict[str, list[str]] = {}
        for line in result.history.of(r.Log):
            logs.setdefault(line.service, []).append(line.line)
        for service, lines in logs.items():
            self._attach("\n".join(lines[-LOG_LINES:]), f"{service}.log", kinds.TEXT)
        for name in ("faults", "phases", "events", "exchanges", "requests"):
            file = result.folder / f"{name}.jsonl"
            if file.exists():
                self._attach(_head(file), f"history {file.name}", kinds.TEXT)

    def _figures(self) -> None:
        """The pictures, also kept in the scenario's folder; or why there is one less."""
        import allure

        from chaoskit.reporters import figures  # not at collection, which needs only the labels

        result, kinds = self.result, allure.attachment_type
        attach: Any = allure.attach  # ships no types
        note = f"control, run with the protection off: {result.control.reason}" if result.control else ""
        for figure in figures.save(result.scenario, result.history, result.verdict, result.folder, note=note):
            if figure.svg is None or figure.png is None:
                self._attach(figure.error, f"{figure.name}: no picture", kinds.TEXT)
                continue
            attach.file(str(figure.svg), name=figure.name, attachment_type=kinds.SVG)
            attach.file(str(figure.png), name=f"{figure.name} (PNG)", attachment_type=kinds.PNG)

    def _attach(self, text: str, name: str, kind: Any) -> None:
        import allure

        allure.attach(mask(text), name=name, attachment_type=kind)


def _findings_table(result: Result) -> str:
    import csv
    import io

    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["finding", "outcome", "expected", "seen", "samples", "line", "worst"])
    for judged in result.verdict.findings:
        finding = judged.finding
        table.writerow(
            [finding.id, finding.outcome, finding.expected, finding.seen, finding.samples, judged.line, finding.worst]
        )
    return out.getvalue()


def _head(file: Path, limit: int = 256 * 1024) -> str:
    """The file, or as many whole lines of it as fit."""
    with file.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) <= limit:
        return data.decode("utf-8", "replace")
    return data[:limit].rpartition(b"\n")[0].decode("utf-8", "replace") + f"\n(cut; the whole lies in {file.name})"
