"""The built report in a real browser, both major versions of Allure: what a person sees of a run that went wrong.

Needs Chromium, and Allure in the node_modules of the folder that CHAOSKIT_TEST_NODE names (or on the PATH).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import allure_hostile
import pytest
from allure_browser import Browser

from chaoskit.report.allure.build import build
from chaoskit.report.allure.commandline import Allure, find
from chaoskit.report.allure.serve import ReportServer

CATEGORIES = (
    "Violated: the service did not do what was expected",
    "Vacuous: the rehearsal proved nothing",
    "Control not caught: the scenario cannot fail",
    "Broken: the environment or chaoskit failed",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Allure results of one real run with every kind of failure, from a hostile service."""
    folder = tmp_path_factory.mktemp("hostile")
    allure_hostile.write(folder)
    command = [sys.executable, "-m", "pytest", "--chaos", "--chaos-controls", "--chaos-seed=7", "scenarios"]
    command.append("--chaos-toxiproxy=embedded")  # whatever else is on this machine
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert "3 failed, 1 passed, 1 error" in done.stdout, done.stdout
    return folder / "reports" / "allure-results"


@pytest.fixture(scope="module", params=[2, 3], ids=["allure2", "allure3"])
def allure(request: pytest.FixtureRequest) -> Allure:
    """The command line of one major version."""
    found = find(request.param, Path(os.environ.get("CHAOSKIT_TEST_NODE", ".")))
    if found is None:
        pytest.skip(f"needs Allure {request.param} (npm; its folder in CHAOSKIT_TEST_NODE)")
    return found


@pytest.fixture(scope="module")
def report(results: Path, allure: Allure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the second of two runs."""
    folder = tmp_path_factory.mktemp("report")
    first = folder / "first"
    shutil.copytree(results, first)
    for file in first.glob("*-result.json"):
        file.rename(first / f"0{file.name}")
    for each in (first, results):
        build(allure, each, folder / "out", folder / "history")
    return folder / "out"


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of the report."""
    with ReportServer(report) as server, Browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield browser, server.url
        server.shutdown()


def pages(report: Path) -> dict[str, tuple[str, Any]]:
    """By the short name of each scenario: the address of its page in the report, and its data."""
    found = {}
    for folder, prefix in (("test-cases", "#testresult/"), ("test-results", "#")):
        for file in report.glob(f"data/{folder}/*.json"):
            data = json.loads(file.read_text(encoding="utf-8"))
            found[data["fullName"].rpartition("#")[2]] = (prefix + file.stem, data)
    return found


def opened(page: tuple[Browser, str], report: Path, name: str) -> Browser:
    """The page of one scenario."""
    browser, url = page
    browser.open(url + pages(report)[name][0])
    return browser


def test_overview(page: tuple[Browser, str]) -> None:
    """How many of what, and what it ran on."""
    browser, url = page
    browser.open(url)
    text = browser.see("Resilience scenarios", "Toxiproxy", "seed", "embedded")
    assert "20%" in text  # one of five passed


def test_categories(page: tuple[Browser, str], allure: Allure) -> None:
    """Four kinds of failure, by name."""
    browser, url = page
    browser.open(url + ("#categories" if allure.major == 2 else ""))
    if allure.major == 3:
        browser.see("Resilience scenarios")
        browser.click("Categories")
    browser.see(*CATEGORIES)


def test_trend(page: tuple[Browser, str], report: Path, allure: Allure) -> None:
    """The run before is remembered, scenario by scenario."""
    if allure.major == 2:
        trend = json.loads((report / "widgets" / "history-trend.json").read_text(encoding="utf-8"))
        assert [run["data"]["total"] for run in trend] == [5, 5]
        return
    browser = opened(page, report, "violated")
    browser.click("History")
    browser.see("History")
    assert len(json.loads(json.dumps(pages(report)["violated"][1]))["history"]) == 1


def test_a_violated_scenario_says_what_when_and_why(page: tuple[Browser, str], report: Path) -> None:
    """At the top, without a click: the finding with its numbers, when it was worst, and the fault with its times."""
    browser = opened(page, report, "violated")
    text = browser.see("violated: Violated", "VIOLATED: during.get.p90: expected < 20ms, seen ", "worst second: ")
    assert "fault slow: latency on front, +0.0 s to +1." in text
    assert "expect during: 0 of 1 held" in browser.see("phase faults", "expect during")


def test_a_failed_finding(page: tuple[Browser, str], report: Path, allure: Allure) -> None:
    """Opened, it tells expected, seen, samples, and the line of the scenario."""
    browser = opened(page, report, "violated")
    browser.see("expect during: 0 of 1 held")
    if allure.major == 2:  # Allure 3 shows failed steps opened
        browser.click("expect during: 0 of 1 held")
        browser.see("violated during.get.p90: ")
        browser.click("violated during.get.p90: ")
    browser.see("violated during.get.p90: ", "expected", "samples", "violated.chaos.yaml:20")


def test_the_figure(page: tuple[Browser, str], report: Path) -> None:
    """The timeline, opened from its attachment, is really drawn."""
    browser = opened(page, report, "violated")
    browser.see("timeline")
    browser.click("timeline")
    browser.until(
        "[...document.images].some(each => each.complete && each.naturalWidth > 300 && each.offsetWidth > 300)"
    )


def test_the_description(page: tuple[Browser, str], report: Path, allure: Allure) -> None:
    """The findings, failed ones first, and the command; Allure 3 shows the timeline there, without a click."""
    browser = opened(page, report, "violated")
    frame = "document.querySelector('iframe[title=Description]')?.contentDocument" if allure.major == 3 else "document"
    text = browser.until(f"{frame}?.body?.innerText.includes('✗ violated') && {frame}.body.innerText")
    assert text.index("✗ violated") < text.index("held")
    assert "pytest --chaos --chaos-seed=7 --chaos-toxiproxy=embedded scenarios/violated.chaos.yaml::violated" in text
    if allure.major == 3:
        browser.until(f"[...{frame}.images].some(image => image.complete && image.naturalWidth > 300)")
        browser.until("document.querySelector('iframe[title=Description]').offsetHeight > 300")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vacuous", ("vacuous: Nothing is touched", "VACUOUS: the rehearsal proves nothing", "touched 0 connections")),
        ("broken", ("broken: It does not start", "BROKEN: front ended before it was ready: exit status 3")),
        (
            "held--control",
            (
                "control not caught: It holds",
                "CONTROL NOT CAUGHT: not violated with the protection off: during.get.p90",
            ),
        ),
    ],
)
def test_others_that_failed(page: tuple[Browser, str], report: Path, name: str, words: tuple[str, ...]) -> None:
    """Each says at the top what it was."""
    opened(page, report, name).see(*words)


@pytest.mark.parametrize("name", ["violated", "broken", "vacuous"])
def test_hostile_text_does_nothing(page: tuple[Browser, str], report: Path, name: str) -> None:
    """Names, descriptions and logs stay text: nothing runs, nothing is asked of another machine."""
    browser = opened(page, report, name)
    browser.complaints.clear()
    browser.see("C7")
    for attachment in ("log of front", "findings", f"{name}.chaos.yaml", "history: requests"):
        if attachment in browser.text():
            browser.click(attachment)
    if name == "violated":
        browser.see(allure_hostile.HOSTILE[:60], "onerror=alert(1)")
    assert browser.complaints == []
    assert not browser.ask("[...document.images].some(image => image.getAttribute('src') === 'x')")
    assert not browser.ask("[...document.links].some(link => link.href.startsWith('javascript:'))")


def test_no_secret_anywhere(report: Path, results: Path) -> None:
    """Neither in the results nor in what was built from them."""
    files = [file for folder in (results, report) for file in folder.rglob("*") if file.is_file()]
    found = {
        (file.name, secret)
        for file in files
        for secret in allure_hostile.SECRETS
        if secret.encode() in file.read_bytes()
    }
    assert found == set()


def test_logs_are_attached_masked_and_timed(results: Path) -> None:
    """Each line with its time on the figure's axis; secrets masked, control characters gone."""
    (result,) = [
        data
        for file in results.glob("*-result.json")
        if (data := json.loads(file.read_text(encoding="utf-8")))["fullName"].endswith("#violated")
    ]
    sources = {each["name"]: each["source"] for each in result["attachments"]}
    text = (results / sources["log of front"]).read_text(encoding="utf-8")
    assert "password=*** Authorization: Bearer ***" in text
    assert "postgres://user:***@db/x" in text
    assert "\x1b" not in text
    assert len(text) < 140_000
    first = text.splitlines()[1]
    assert first.split()[1] == "s"
    float(first.split()[0])


def test_nothing_is_loaded_from_elsewhere(report: Path) -> None:
    """Both versions would tell Google of each reader."""
    pages = list(report.rglob("index.html"))
    assert pages
    assert not [page for page in pages if 'src="http' in page.read_text(encoding="utf-8")]
