"""What is attached to a result: fault reports, alerts and SOP runs, bounded logs, all without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from figures_histories import scenarios, usual

from chaoskit.engine.session import Result
from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.language.expectation import Outcome
from chaoskit.report.allure.attachments import LIMIT, attach_all
from chaoskit.report.allure.steps import Steps
from chaoskit.report.allure.words import clean, description


@pytest.fixture
def attached() -> Iterator[dict[str, tuple[str, str]]]:
    """Text and type of what is attached, by name."""
    from allure_commons import hookimpl, plugin_manager

    found: dict[str, tuple[str, str]] = {}

    class Plugin:
        @hookimpl
        def attach_data(self, body: Any, name: str, attachment_type: Any, extension: Any) -> None:
            found[name] = (body, attachment_type.mime_type)

    plugin = Plugin()
    plugin_manager.register(plugin)
    yield found
    plugin_manager.unregister(plugin)


@pytest.fixture
def result(tmp_path: Path) -> Result:
    """A result with a history of its own folder."""
    (scenario,) = scenarios(tmp_path)
    made = usual()
    return Result(scenario, tmp_path, made.history, made.judged(scenario), None, 5.0, 7)


def test_fault_reports_alerts_and_sop_runs(result: Result, attached: dict[str, tuple[str, str]]) -> None:
    """Reports as text, never as markup; rows of the history masked as data."""
    folder = result.folder / "fault-reports"
    folder.mkdir()
    (folder / "1-OrdersSlow.json").write_text('{"service": "orders", "token": "geheim"}', encoding="utf-8")
    (folder / "1-OrdersSlow.md").write_text("# Orders slow\n<script>1</script> password=geheim", encoding="utf-8")
    (folder / "2-Long.json").write_text(json.dumps(["x" * 60] * 3000, indent=1), encoding="utf-8")
    (folder / "notes.bin").write_bytes(b"\x00")
    history = History(result.folder)
    history.add(
        r.Alert(
            name="OrdersSlow", state="firing", at=1.0, source="rules", fingerprint="f",
            annotations={"summary": 'log: {"api_key": "geheim"}', "cookie": "geheim"},
        )
    )  # fmt: skip
    history.add(
        r.SopRun(
            sop="restart", alert="OrdersSlow", fingerprint="f", incident="1", severity="P1", action_type="restart",
            target_service="orders", priority="high", queued=1.0, payload={"secret": "geheim"},
        )
    )  # fmt: skip
    history.close()
    attach_all(result, "pytest --chaos x")
    assert attached["fault report 1-OrdersSlow.json"] == ('{"service": "orders", "token": "***"}', "application/json")
    assert attached["fault report 1-OrdersSlow.md"] == ("# Orders slow\n<script>1</script> password=***", "text/plain")
    assert attached["fault report 2-Long.json"][1] == "text/plain", "what is cut is no JSON any more"
    assert json.loads(attached["history: alerts"][0])["name"] == "OrdersSlow"
    assert json.loads(attached["history: sop runs"][0])["payload"] == {"secret": "***"}
    assert attached["run it again"][0] == "pytest --chaos x\n# seed 7\n"
    assert not [name for name, (text, _) in attached.items() if "geheim" in text]
    assert not [name for name in attached if "notes" in name]


def test_logs_are_bounded(result: Result, attached: dict[str, tuple[str, str]]) -> None:
    """The last lines, as many as fit, and how many are missing."""
    for number in range(4000):
        result.history.add(r.Log(service="orders", at=float(number), line=f"line {number} {'x' * 60}"))
    attach_all(result, "")
    lines = attached["log of orders"][0].splitlines()
    missing = int(lines[0].split()[0].lstrip("("))
    assert lines[0].endswith("earlier lines cut; logs.jsonl has all)")
    assert missing == 4000 - (len(lines) - 1) > 0
    assert f"line {missing} " in lines[1]
    assert "line 3999 " in lines[-1]
    assert LIMIT * 0.9 < len(attached["log of orders"][0]) < LIMIT * 1.1


def test_a_long_history_is_cut_at_a_row(result: Result, attached: dict[str, tuple[str, str]]) -> None:
    """Whole rows only, and it says where the rest is."""
    with (result.folder / "events.jsonl").open("w", encoding="utf-8") as file:
        for number in range(3000):
            file.write(json.dumps({"service": "orders", "at": number, "what": "x" * 60}) + "\n")
    attach_all(result, "")
    *rows, last = attached["history: events"][0].splitlines()
    assert last == "(cut; the whole lies in events.jsonl)"
    assert json.loads(rows[-1])["at"] == len(rows) - 1


def test_description_is_text(result: Result) -> None:
    """Whatever stands in a scenario: no markup of its own, no secret."""
    hostile = "<script>alert(1)</script> token=geheim"
    model = result.scenario.model.model_copy(update={"description": f"{hostile}\nsecond line"})
    object.__setattr__(result.scenario, "model", model)
    text = description(result, f"pytest '{hostile}'", [f"fault {hostile}"], b"<svg/>")
    assert "<script" not in text
    assert "geheim" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; token=***<br>second line" in text
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in text


def test_the_table_of_findings(result: Result) -> None:
    """Signs as on the page; cells break their lines, as Allure 3 cuts what does not fit."""
    findings = [
        replace(each, finding=replace(each.finding, outcome=outcome))
        for outcome, each in zip(Outcome, [result.verdict.findings[0]] * len(Outcome), strict=True)
    ]
    object.__setattr__(result, "verdict", replace(result.verdict, findings=findings))
    text = description(result, "", [], None)
    signs = ["! broken", "✗ violated", "? vacuous", "~ inconclusive", "✓ held"]
    assert re.findall(r"<tr><td [^>]*>(. [a-z]+)&nbsp;", text) == signs
    assert text.count("<td") + text.count("<th") == text.count(' style="white-space:normal"') == 30


def test_clean() -> None:
    """Colours and control characters go, lines and tabs stay."""
    assert clean("\x1b[31mred\x1b[0m\x07\ta\r\nb password=geheim\x00") == "red\ta\nb password=***"


def test_steps_of_a_fault_that_could_not_be_injected(result: Result) -> None:
    """Broken, with the reason; its time is no phase's, so it stands by itself."""
    result.history.add(
        r.Fault(
            name="late", kind="noop", target="dep", planned_start=1e6, planned_end=1e6, started=1e6, injected=1e6,
            ended=1e6, touched=0, unit="calls", error="no such password=geheim",
        )
    )  # fmt: skip
    step = next(step for step in Steps(result, 0.0).all() if step.name.startswith("fault late"))
    assert step.status == "broken"
    assert step.statusDetails.message == "no such password=***"
