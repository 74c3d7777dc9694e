"""``chaoskit report``: what it builds from what is there, and what its exit codes mean."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.report.runs import Recorded, read_run, write_not_run
from chaoskit.trend.history_db import Database, Revision

FAKE = """\
#!/bin/sh
[ "$1" = --version ] && echo 2.46.1 && exit
mkdir -p "$5/history" && echo report > "$5/index.html"
"""


@pytest.fixture
def no_allure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH without Allure."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert shutil.which("allure") is None


@pytest.fixture
def allure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with a script that takes the place of Allure 2, and results."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("allure", FAKE), ("java", "#!/bin/sh\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    results = tmp_path / "reports" / "allure-results"
    results.mkdir(parents=True)
    (results / "a-result.json").write_text("{}", encoding="utf-8")


@pytest.mark.usefixtures("no_allure")
def test_without_allure_the_page_is_written(chaoskit: Callable[..., Any], record: Callable[..., Path]) -> None:
    """3: it says how to get Allure, and the HTML page is there."""
    record()
    answer = chaoskit("report")
    assert answer.status == 3, answer
    assert "npm install allure" in answer.err
    assert answer.out == "HTML page: reports/chaoskit.html\n"
    assert "Made up" in Path("reports/chaoskit.html").read_text(encoding="utf-8")
    assert chaoskit("report", "--allure", "none").status == 0


@pytest.mark.usefixtures("no_allure")
@pytest.mark.parametrize("kept", [True, False], ids=["history", "no history"])
def test_an_invalid_scenario_is_on_the_page(
    chaoskit: Callable[..., Any], record: Callable[..., Path], kept: bool
) -> None:
    """Once, although both the history and the run's folder hold it."""
    run = record().parent
    bad = Recorded(
        None, "bad", "bad--invalid", "invalid", "x:3: typo", severity="unknown", started="2026-01-01T10:00:00+0000"
    )
    write_not_run(run, [bad])
    if kept:
        with Database(Path("reports/history.db")) as database:
            database.record(run.name, read_run(run), Revision())
    assert chaoskit("report", "--allure", "none").status == 0
    page = Path("reports/chaoskit.html").read_text(encoding="utf-8")
    assert "1 of 2 scenarios held" in page
    assert page.count('data-outcome="invalid"') == 1


@pytest.mark.usefixtures("no_allure")
def test_nothing_to_report(chaoskit: Callable[..., Any]) -> None:
    """2, with and without Allure."""
    for arguments in ((), ("--allure", "none")):
        answer = chaoskit("report", *arguments)
        assert answer.status == 2
        assert answer.err.startswith("no runs below reports: run pytest --chaos first")
    results = Path("reports/allure-results")
    results.mkdir(parents=True)
    answer = chaoskit("report")
    assert (answer.status, "npm install allure" in answer.err) == (3, True), "there is something"


@pytest.mark.usefixtures("allure")
def test_both_reports(chaoskit: Callable[..., Any], record: Callable[..., Path]) -> None:
    """0: where both lie; into another folder when asked."""
    record()
    answer = chaoskit("report")
    assert answer.status == 0, answer
    assert answer.out.splitlines() == [
        "HTML page: reports/chaoskit.html",
        "Allure report: reports/allure-report (Allure 2.46.1)",
    ]
    assert chaoskit("report", "--out", "public", "--allure", "2").status == 0
    assert Path("public/index.html").read_text(encoding="utf-8") == "report\n"


@pytest.mark.usefixtures("allure")
def test_the_other_version_is_not_here(chaoskit: Callable[..., Any], record: Callable[..., Path]) -> None:
    """3: version 3 was asked for, and there is version 2."""
    record()
    answer = chaoskit("report", "--allure", "3")
    assert answer.status == 3
    assert "version 3 was asked for" in answer.err


@pytest.mark.usefixtures("allure")
def test_served_until_ctrl_c(tmp_path: Path) -> None:
    """On loopback; Ctrl-C ends it with 0."""
    command = [sys.executable, "-c", "from chaoskit.cli import main; raise SystemExit(main())", "report", "--serve"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = ""
        while not url:
            line = process.stdout.readline()
            assert line, "it has ended"
            url = (re.findall(r"serving (http://127\.0\.0\.1:\d+/)", line) or [""])[0]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == b"report\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
