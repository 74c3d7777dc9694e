"""A recovery that an SOP brought about is told as such by every reporter: 0s after the fault says nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from recordings import made

from chaoskit.report.html import write_page
from chaoskit.report.runs import from_dict
from chaoskit.report.summary import recovered


def test_in_words() -> None:
    """After the last fault, or by an SOP before its end, counted from the first fault's start."""
    assert recovered(None, None) == "never"
    assert recovered(0.5, None) == "after 500ms"
    assert recovered(0.0, 4.2) == "by SOP, 4.2s after the first fault began, which was still active"


def test_a_record_keeps_it() -> None:
    """Through JSON; a record of an older chaoskit has none."""
    cured = made(recovery=0.0, sop_recovery=4.2)
    assert from_dict(cured.as_dict()).recovered == recovered(0.0, 4.2)
    older = {name: value for name, value in made().as_dict().items() if name != "sop_recovery"}
    assert from_dict(older).recovered == "after 1s"


def test_the_worst_finding_of_a_record_is_a_cause() -> None:
    """As in the terminal; an older record has no ``because``."""
    facts = {"outcome": "violated", "expected": "a", "seen": "b", "samples": 0, "worst": "", "rows": ()}
    follows = {**facts, "id": "sop.times", "line": 3, "because": "alerts.X.fires"}
    cause, other = (
        {**facts, "id": "alerts.X.fires", "line": 9, "because": ""},
        {**facts, "id": "during.p95", "line": 12},
    )
    record = made(outcome="violated", findings=(follows, cause, other))
    assert [finding["id"] for finding in record.failed] == ["alerts.X.fires", "during.p95", "sop.times"]


def test_on_the_page(tmp_path: Path) -> None:
    """In the table and on the card."""
    cured = dataclasses.replace(made("cured", recovery=0.0, sop_recovery=4.2), folder=tmp_path)
    page = tmp_path / "page.html"
    write_page([cured], page, reports=tmp_path)
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    assert "<td>SOP 4.2s</td>" in text
    assert "Steady state held again: <b>by SOP, 4.2s after the first fault began" in text
