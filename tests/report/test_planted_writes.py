"""What is written below a report folder goes nowhere else, whatever links were planted there."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_runs import folder

from chaoskit.base.errors import BrokenError
from chaoskit.engine.session import Session
from chaoskit.history.files import copy_kept
from chaoskit.history.rows import KINDS, Log
from chaoskit.history.store import History
from chaoskit.report.allure.build import build
from chaoskit.report.allure.commandline import Allure
from chaoskit.report.allure.run_files import write_run_files
from chaoskit.report.allure.trend import Trend
from chaoskit.report.runs import Recorded, write_not_run


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the user's, with a file."""
    made = tmp_path / "victim"
    made.mkdir()
    (made / "file").write_text("theirs")
    return made


@pytest.fixture(autouse=True)
def unharmed(victim: Path):
    """Nothing in it is changed, and nothing comes."""
    yield
    assert [(each.name, each.read_text()) for each in victim.iterdir()] == [("file", "theirs")]


def test_rows(tmp_path: Path, victim: Path) -> None:
    """The link is replaced by the rows; a folder that is one is refused."""
    run = tmp_path / "run"
    run.mkdir()
    for name in KINDS:
        (run / f"{name}.jsonl").symlink_to(victim / "file")
    history = History(run)
    history.add(Log(service="a", at=1, line="x"))
    history.close()
    assert not (run / "logs.jsonl").is_symlink()
    (tmp_path / "linked").symlink_to(victim)
    with pytest.raises(BrokenError, match="symbolic link"):
        History(tmp_path / "linked")


def test_the_folders_of_runs(tmp_path: Path, victim: Path) -> None:
    """A run does not begin where ``runs`` leads elsewhere; what was not run is not told there either."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "runs").symlink_to(victim)
    with pytest.raises(BrokenError, match=r"reports/runs is a symbolic link, which is not followed"):
        Session(tmp_path / "reports")
    with pytest.raises(BrokenError, match="symbolic link"):
        write_not_run(tmp_path / "reports" / "runs", [Recorded(None, "a", "a", "invalid", "x", severity="unknown")])


def test_files_of_allure(tmp_path: Path, victim: Path) -> None:
    """Categories, environment, executor."""
    results = tmp_path / "allure-results"
    results.mkdir()
    names = ("categories.json", "environment.properties", "executor.json")
    for name in names:
        (results / name).symlink_to(victim / "file")
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "http://x",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_RUN_ID": "1",
    }
    write_run_files(results, [folder(tmp_path, "made-up", {"seed": 1})], github)
    assert not any((results / name).is_symlink() for name in names[:2])


@pytest.mark.parametrize("name", ["before", "after"])
def test_the_trend_of_allure(tmp_path: Path, victim: Path, name: str) -> None:
    """Nothing is taken from a linked folder into a report, and nothing put there."""
    trend = Trend(tmp_path / "history", tmp_path / "results")
    trend.folder.mkdir()
    (trend.folder / name).symlink_to(victim)
    with pytest.raises(BrokenError, match="symbolic link"):
        trend.before()


def test_the_mark_of_the_trend(tmp_path: Path, victim: Path) -> None:
    """It is replaced."""
    trend = Trend(tmp_path / "history", tmp_path / "results")
    trend.before()
    (trend.folder / "results").symlink_to(victim / "file")
    trend.keep(tmp_path / "nothing")
    assert not (trend.folder / "results").is_symlink()


def test_copies_of_folders(tmp_path: Path, victim: Path) -> None:
    """Without the links in them."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "link").symlink_to(victim / "file")
    (tmp_path / "from" / "own").write_text("x")
    copy_kept(tmp_path / "from", tmp_path / "to")
    assert [file.name for file in (tmp_path / "to").iterdir()] == ["own"]


@pytest.mark.parametrize("what", ["results", "report", "history"])
def test_building(tmp_path: Path, victim: Path, what: str) -> None:
    """Allure reads and writes by path: it is not started. (That program would not start.)"""
    results, out, history = (tmp_path / name for name in ("allure-results", "allure-report", "allure-history"))
    results.mkdir()
    (results / "1-result.json").write_text("{}")
    linked = {"results": results / "2-attachment.txt", "report": out, "history": history}[what]
    linked.symlink_to(victim / "file" if what == "results" else victim)
    with pytest.raises(BrokenError, match="symbolic link"):
        build(Allure(("/nowhere",), "3.0.0"), results, out, history)
