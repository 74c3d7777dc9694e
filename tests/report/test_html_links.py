"""Where the page leads to: files, scenarios, the Allure report, and the commands that it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from html_folders import Folders
from test_html_page import written


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A reports folder."""
    return Folders(tmp_path / "reports")


def test_how_to_run_it_again(folders: Folders) -> None:
    """The command of the record; the folder and its files are linked, and the links lead there."""
    folders.add("too-slow", "violated", logs={"orders": ["x"]})
    page = written(folders)
    assert "pytest --chaos --chaos-seed=7 scenarios/too-slow.chaos.yaml::too-slow" in page.text
    links = [link for a in page.of("a") if (link := a["href"] or "").startswith("./")]
    assert len(links) >= 4
    for link in links:
        assert (folders.reports / link).exists(), link


def test_how_to_open_the_allure_report(folders: Folders) -> None:
    """The command where there are results, with the folder of reports; a hidden link where the report was built."""
    folders.add("fine")
    assert "Allure report" not in written(folders).text
    (folders.reports / "allure-results").mkdir()
    command = f"chaoskit report --open --reports {folders.reports} builds and opens it"
    page = written(folders)
    assert f"Allure report {command}" in page.text
    assert not [link for link in page.of("a") if link.get("class") == "served"]
    index = folders.reports / "allure-report" / "index.html"
    index.parent.mkdir()
    index.touch()
    (link,) = [link for link in written(folders).of("a") if link.get("class") == "served"]
    assert "hidden" in link
    assert link["href"] == "./allure-report/index.html"


def test_the_usual_reports_folder_need_not_be_named(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is as short as it can be."""
    folders.add("fine")
    (folders.reports / "allure-results").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "chaoskit report --open builds and opens it" in written(folders).text


def test_scenarios_of_one_name_have_addresses_of_their_own(folders: Folders) -> None:
    """xdist's workers have a run each, and two files may hold the same name."""
    first = folders.add("same")
    folders.recorded.append(first)
    page = written(folders)
    assert [article["id"] for article in page.of("article")] == ["same", "same-2"]
    assert {row.get("data-for") for row in page.of("tr")} >= {"same", "same-2"}
