"""Allure results: the same names wherever and however pytest runs, and nothing passed that was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.clock import wait_for

QUICK = (("steady: 1s", "steady: 500ms"), ("recovery: 5s", "recovery: 3s"), ("rate: 50/s", "rate: 80/s"))
IDS = ("historyId", "testCaseId", "fullName", "titlePath", "name")


def results(folder: Path) -> list[dict[str, Any]]:
    """What allure-pytest has written."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*-result.json")]


def identities(folder: Path) -> set[tuple[str, ...]]:
    """All that names a result, and the suites it stands in."""
    return {
        (
            *(str(result[key]) for key in IDS),
            *sorted(
                f"{label['name']}={label['value']}"
                for label in result["labels"]
                if label["name"] in ("parentSuite", "suite", "subSuite", "epic", "feature", "story")
            ),
        )
        for result in results(folder)
    }


def pictures(folder: Path) -> dict[str, list[str]]:
    """What is attached to each scenario that was run, by its history: pictures first and, as PNG, last."""
    found = {}
    for result in results(folder):
        if result["status"] == "skipped":
            continue
        attached = result["attachments"]
        first, last = (folder / attached[place]["source"] for place in (0, -1))
        assert b"<svg" in first.read_bytes()[:1000]
        assert last.read_bytes().startswith(b"\x89PNG")
        assert "data:image/svg+xml;base64," in result["descriptionHtml"]
        found[result["historyId"]] = [f"{each['name']}: {each['type']}" for each in attached]
    return found


def test_history_is_one_serial_in_parallel_and_elsewhere(
    project: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two workers in a copy of the project, started in another folder with another root, make the same ids.

    So are the pictures, which workers draw when all scenarios have been measured.
    """
    without = ("control:\n  with: {front: {env: {PROTECTION: none}}}\n  violates: [during.get.p90]\n", "")
    several = project.edit(*QUICK, without, ("delay: 60ms", 'delay: "{{ matrix.pause }}"'))
    skipped = project.edit(*QUICK, without, ("latency: {on: front, delay: 60ms}", "netem: {on: front, loss: 1%}"))
    project.write(
        one=project.edit(*QUICK),
        two=several + "matrix:\n  pause: [20ms, 30ms]\n",
        three=skipped + "requires: [netem, docker]\n",
    )
    elsewhere = tmp_path_factory.mktemp("another-machine") / "deep" / "checkout"
    shutil.copytree(project.folder, elsewhere)
    here = project.run("--chaos", "--chaos-controls", "scenarios")
    there = type(project).__new__(type(project))
    there.folder = elsewhere / "scenarios"
    outcome = there.run("--chaos", "--chaos-controls", "-n", "2", "--rootdir", str(there.folder), ".")
    assert "1 skipped" in here.out, here.out
    assert "1 skipped" in outcome.out, outcome.out
    first = identities(project.folder / "reports" / "allure-results")
    assert len(first) == 5
    assert len({identity[0] for identity in first}) == 5
    assert identities(there.folder / "reports" / "allure-results") == first
    drawn = pictures(project.folder / "reports" / "allure-results")
    assert len(drawn) == 4
    assert pictures(there.folder / "reports" / "allure-results") == drawn


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_what_was_interrupted_is_not_written(project: Any, number: signal.Signals) -> None:
    """What ended before Ctrl-C is kept; the scenario that was running is neither passed nor anything else."""
    project.write(a_done=project.edit(*QUICK), b_running=project.edit(("for: 1s", "for: 60s")))
    folder = project.folder / "reports" / "allure-results"
    process = project.start("--chaos", "scenarios")
    try:
        rows = "reports/runs/*/b-running/requests.jsonl"
        wait_for(
            lambda: process.poll() is not None or list(project.folder.glob(rows)),
            what="the second scenario", limit=60, every=0.1,
        )  # fmt: skip
        os.kill(process.pid, number)
        process.communicate(timeout=60)
    finally:
        with process:  # closes its pipe
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [(result["fullName"], result["status"]) for result in results(folder)] == [
        ("scenarios.a_done.chaos#a-done", "passed")
    ]
    assert (folder / "environment.properties").exists()


def test_results_of_an_earlier_run_are_not_mixed_silently(project: Any) -> None:
    """Our own folder is emptied; one that a person named is kept, and the run says what it held."""
    project.write(one=project.edit(("rate: 50/s", "rate: 50")))
    for _ in range(2):
        outcome = project.run("--chaos", "scenarios")
    assert len(results(project.folder / "reports" / "allure-results")) == 1
    assert "before this run" not in outcome.out
    for earlier in (0, 1):
        outcome = project.run("--chaos", "--alluredir", "mine", "scenarios")
        assert ("mine held 1 result before this run; a report shows all" in outcome.out) is bool(earlier), outcome.out
    assert len(results(project.folder / "mine")) == 2


def test_case_links(project: Any) -> None:
    """With a pattern for the team's test management, the case is a link; links of the scenario are links."""
    project.write(one=project.edit(*QUICK, ("owner: team", "owner: team\nlinks: [https://example.org/runbook]")))
    project.run("--chaos", "--allure-link-pattern", "tms:https://cases.example.org/{}", "scenarios")
    (result,) = results(project.folder / "reports" / "allure-results")
    assert {(link["type"], link["url"]) for link in result["links"]} == {
        ("link", "https://example.org/runbook"),
        ("tms", "https://cases.example.org/C7"),
    }


def test_recorded_runs_are_no_tests(project: Any) -> None:
    """pytest without a path does not collect the copies of scenarios in the reports."""
    copy = project.folder / "reports" / "runs" / "1" / "one"
    copy.mkdir(parents=True)
    (copy / "scenario.chaos.yaml").write_text(project.scenario, encoding="utf-8")
    project.write(one=project.scenario)
    outcome = project.run("--chaos", "--collect-only", "-q")
    assert "scenarios/one.chaos.yaml::one" in outcome.out
    assert "reports/" not in outcome.out
