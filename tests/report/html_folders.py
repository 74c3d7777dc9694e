"""Folders of finished scenarios, written as a run leaves them, for tests of the HTML page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures_histories import drawn, scenarios, usual

from chaoskit.report.runs import Recorded, read

SOURCE = """\
scenario: {scenario}
traffic:
  ask: {{request: "GET {{{{ stub.url }}}}/", rate: 50/s}}
expect:
  during: {{ask: {{p95: "< 500ms"}}}}
"""


def finding(name: str = "during.ask.p95", outcome: str = "held", **more: Any) -> dict[str, Any]:
    """A finding as verdict.json holds it."""
    seen = {"held": "20ms", "violated": "812ms", "vacuous": "nothing", "broken": "nothing"}[outcome]
    facts = {"id": name, "outcome": outcome, "expected": "< 500ms", "seen": seen, "samples": 100, "line": 5}
    return {**facts, "worst": "worst second: 1s at +1.0 s", "rows": [], "path": [], **more}


def fault(**more: Any) -> dict[str, Any]:
    """A fault as verdict.json holds it."""
    facts = {"name": "slow", "kind": "latency", "target": "stub", "touched": 12, "unit": "connections"}
    return {**facts, "evidence": {"toxic": {"bytes": 5}}, "started": 0.0, "ended": 2.0, **more}


def fault_report(text: str, **more: Any) -> str:
    """A fault report as JSON, in which whatever comes from outside is ``text``."""
    text = text.encode("utf-8", "replace").decode()  # no report holds half a surrogate
    moment = "2026-01-01T10:00:03.250Z"
    fired = {
        "name": text, "severity": text, "fingerprint": "f", "source": "alertmanager", "served_by": "embedded",
        "delivered": moment, "starts_at": text, "resolved": None, "deliveries": 1, "labels": {text: text},
        "annotations": {text: text, "summary": text},
    }  # fmt: skip
    failure = {
        "time": moment, "operation": "ask", "method": "GET", "path": text, "status": 500, "error": "",
        "fallback": False, "request_id": text, "trace_id": text,
    }  # fmt: skip
    metric = {"service": text, "name": text, "time": moment, "value": 4.0, "before": 0.0, "of_rule": True}
    step = {
        "action": "restart", "target": text, "outcome": "done", "attempts": 2, "started": moment, "ended": moment,
        "detail": text,
    }  # fmt: skip
    sop = {
        "sop": text, "action_type": "restart", "target_service": text, "priority": "high", "runner": "chaoskit",
        "outcome": "failed", "queued": moment, "started": moment, "ended": moment, "attempts": 2, "escalated": text,
        "detail": text, "steps": [step, {**step, "action": "notify", "attempts": 1, "outcome": "failed"}],
    }  # fmt: skip
    report = {
        "format": "chaoskit/fault-report/1", "incident": "x-1", "time": moment, "written": moment, "scenario": text,
        "environment": "e", "service": text, "severity": text, "summary": text, "alert": fired,
        "trace_ids": [text] * 3, "failures": [failure, {**failure, "fallback": True}] * 3,
        "logs": {"seconds": 300.0, "omitted": 0, "lines": []}, "metrics": [metric], "metrics_omitted": 1, "faults": [],
        "timeline": [], "sops": [sop], **more,
    }  # fmt: skip
    return json.dumps(report)


def large_figure(folder: Path) -> bytes:
    """A timeline as large as those of the shipped scenarios: three operations, 600 requests."""
    (scenario,) = scenarios(folder, operations=2)
    made = usual()
    for number in range(2):
        made.requests(-3.0, 4.0, rate=20, op=f"op-{number}")
    return drawn(scenario, made)["timeline"].picture.svg


@dataclass
class Folders:
    """A reports folder with one run."""

    reports: Path
    svg: bytes = b""
    recorded: list[Recorded] = field(default_factory=list)

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return self.reports / "chaoskit.html"

    def add(
        self,
        name: str,
        outcome: str = "held",
        *,
        logs: dict[str, list[str]] | None = None,
        files: dict[str, str] | None = None,
        source: str = "",
        **facts: Any,
    ) -> Recorded:
        """Write a folder and read it back. ``facts`` go into run.json, or into verdict.json if they belong there."""
        folder = self.reports / "runs" / "20260101-100000-1" / name
        folder.mkdir(parents=True)
        verdict: dict[str, Any] = {
            "outcome": outcome if outcome not in ("caught", "not caught") else "violated",
            "reason": "everything as expected" if outcome == "held" else f"because of {name}",
            "recovery": 0.5,
            "samples": 350,
            "findings": [finding(), finding("during.ask.success_rate", "held" if outcome == "caught" else outcome)]
            if outcome in ("held", "violated", "vacuous")
            else [],
            "faults": [] if outcome == "broken" else [fault()],
            "operations": {},
        }
        if outcome in ("caught", "not caught"):
            verdict["control"] = {"caught": outcome == "caught", "reason": f"{outcome}, because"}
        meta = {
            "scenario": f"Scenario {name}", "slug": name, "matrix": {}, "control": "control" in verdict, "seed": 7,
            "started": "2026-01-01T10:00:00+0000", "wall": 5.0, "severity": "normal", "tags": [], "owner": "",
            "nodeid": f"scenarios/{name}.chaos.yaml::{name}", "toxiproxy": "embedded", "runtime": "process",
            "reproduce": f"pytest --chaos --chaos-seed=7 scenarios/{name}.chaos.yaml::{name}", "chaoskit": "1", **facts,
        }  # fmt: skip
        verdict.update({key: meta.pop(key) for key in list(verdict) if key in facts})
        _write(folder / "run.json", json.dumps(meta))
        _write(folder / "verdict.json", json.dumps(verdict))
        _write(folder / "scenario.chaos.yaml", source or SOURCE.format(scenario=meta["scenario"]))
        rows = [
            {"service": service, "at": 100.0 + number / 10, "line": line}
            for service, lines in (logs or {}).items()
            for number, line in enumerate(lines)
        ]
        if rows:
            _write(folder / "logs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for file, text in (files or {}).items():
            (folder / file).parent.mkdir(exist_ok=True)
            _write(folder / file, text)
        if self.svg:
            (folder / "timeline.svg").write_bytes(self.svg)
        self.recorded.append(read(folder))
        return self.recorded[-1]


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
