"""Alerts, SOP runs and fault reports on the page: told step by step, as text, bounded, masked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from html_folders import Folders, fault_report
from test_html_page import written


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A reports folder."""
    return Folders(tmp_path / "reports")


def lines(*rows: dict[str, object]) -> str:
    """A history's file."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_alerts_and_sops(folders: Folders) -> None:
    """Shown where the folder has them; each step of an SOP with its tries and its times."""
    alert = {"name": "OrdersSlow", "state": "firing", "at": 3.0, "source": "rules", "fingerprint": "f"}
    step = {
        "action": "restart", "target": "orders", "outcome": "done", "attempts": 3, "started": 3.75, "ended": 4.5,
        "detail": "token=hunter2",
    }  # fmt: skip
    sop = {
        "sop": "restart-orders", "alert": "OrdersSlow", "fingerprint": "f", "incident": "1", "severity": "P1",
        "action_type": "restart", "target_service": "orders", "priority": "high", "queued": 3.5, "outcome": "done",
        "steps": [step, {**step, "action": "notify", "target": "", "attempts": 1, "detail": "told orders"}],
    }  # fmt: skip
    skipped = {**sop, "outcome": "skipped", "detail": "cool-down", "steps": []}
    files = {"alerts.jsonl": lines(alert), "sop_runs.jsonl": lines(sop, skipped) + "{cut"}
    folders.add("alerted", files=files)
    text = written(folders).text
    assert "1 alert step When" in text
    assert "OrdersSlow firing" in text
    assert "restart-orders OrdersSlow (P1) restart orders, priority high done restart orders: done, 3 tries" in text
    assert "notify: done, 1 try, +3.75 s to +4.50 s told orders" in text
    assert "skipped: cool-down" in text
    assert "hunter2" not in text


def test_a_fault_report_is_drawn_and_not_quoted(folders: Folders) -> None:
    """From its JSON: no Markdown on the page; what really delivered, every step, fallbacks, metrics; and its files."""
    files = {"fault-reports/1-OrdersSlow.json": fault_report("orders"), "fault-reports/1-OrdersSlow.md": "# raw *x*"}
    folders.add("alerted", files=files)
    page = written(folders)
    assert "# raw" not in page.text
    for words in (
        "Fault report 1-OrdersSlow: orders orders of orders",
        "10:00:03.250 UTC by chaoskit's embedded stand-in for alertmanager, 1 time",
        "resolved not yet",
        "orders, orders and 1 more",
        "SOP orders : restart orders, priority high, failed (orders; escalated to orders)",
        "1 restart orders 2 done 10:00:03.250, 10:00:03.250 orders",
        "2 notify orders 1 failed",
        "GET orders 500, fallback orders",
        "1 more request failed, or had a fallback for an answer.",
        "orders orders asked for by the rule 0 4",
        "1 other metric not shown.",
    ):
        assert words in page.text, words
    assert [link["href"] for link in page.of("a") if (link["href"] or "").endswith("1-OrdersSlow.md")]


def test_a_report_that_cannot_be_read_is_told_and_linked(folders: Folders) -> None:
    """One of another version, and one that is none; the others are shown."""
    files = {
        "fault-reports/2-B.json": fault_report("fine"),
        "fault-reports/10-A.json": "{}",
        "fault-reports/3-C.json": fault_report("x", format="chaoskit/fault-report/9"),
    }
    folders.add("alerted", files=files)
    text = written(folders).text
    assert "Fault report 2-B: fine" in text
    assert "Fault report 3-C cannot be shown here: no fault report: " in text
    assert "Fault report 10-A cannot be shown here: no fault report: " in text
    assert "in full: 2-B.json , 3-C.json , 10-A.json" in text


def test_no_secret_of_a_report_is_on_the_page(folders: Folders) -> None:
    """Even where one has got into the file."""
    report = json.loads(fault_report("password=hunter2"))
    report["alert"] |= {"labels": {"api_key": "hunter2"}, "annotations": {"more": "Bearer hunter2hunter2"}}
    folders.add("alerted", files={"fault-reports/1-x.json": json.dumps(report)})
    text = written(folders).text
    assert "hunter2" not in text
    assert "api_key=***" in text


def test_many_reports_leave_room_for_the_figures(folders: Folders) -> None:
    """Sixty of them, with long texts: forty at most, of each scenario three, in a third of what a page may have."""
    report = json.loads(fault_report("word " * 20))
    report["failures"] = report["failures"] * 4
    report["metrics"] = report["metrics"] * 25
    files = {f"fault-reports/{incident}-x.json": json.dumps(report) for incident in range(1, 5)}
    for number in range(15):
        folders.add(f"alerted-{number}", files=files)
    page = written(folders)
    assert page.text.count("Fault report ") == 40
    assert page.text.count("18 other metrics not shown.") == 40
    assert sum(1 for link in page.of("a") if "fault-reports" in (link["href"] or "")) == 60
    assert folders.page.stat().st_size < 700_000


def test_what_was_changed_of_the_rules_is_shown_without_an_alert(folders: Folders) -> None:
    """A rehearsal in which nothing fired ran on changed copies too; without alerting there is nothing to tell."""
    changed = "What was changed of the team's rules and routing for the rehearsal"
    folders.add("unalerted")
    assert changed not in written(folders).text
    folders.add("silent", alerting={"served_by": "prometheus 2.42.0", "changes": ["for 5m is 10s", "<b>bold</b>"]})
    text = written(folders).text
    assert f"{changed} for 5m is 10s <b>bold</b>" in text
    assert "Alerts and SOPs" not in text
