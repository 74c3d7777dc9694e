"""Figures on the page: all of them while there is room, and what is said in place of one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from html_folders import Folders, large_figure
from test_html_page import written

from chaoskit.report.html import page as page_module


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A reports folder."""
    return Folders(tmp_path / "reports")


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A timeline."""
    return large_figure(tmp_path_factory.mktemp("figure"))


def test_forty_scenarios_fit_into_two_megabytes(folders: Folders, figure: bytes) -> None:
    """With every figure and with logs, made within the ten seconds that a report may take."""
    folders.svg = figure
    for number in range(40):
        lines = [f"2026-01-01 INFO request {index} " + "x" * 200 for index in range(500)]
        outcome = "violated" if number % 10 == 0 else "held"
        folders.add(f"scenario-{number:02}", outcome, logs={"orders": lines, "payments": lines})
    began = time.process_time()  # not how busy the machine is with other things
    page = written(folders)
    assert time.process_time() - began < 10
    assert folders.page.stat().st_size < 2_000_000
    assert sum(1 for _ in page.of("img")) == 40


def test_figures_that_do_not_fit_are_replaced_by_a_link(
    folders: Folders, figure: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of scenarios that held go first; the page says how many, and leads to each."""
    folders.svg = figure
    for number in range(8):
        folders.add(f"scenario-{number}", "violated" if number in (3, 6) else "held")
    monkeypatch.setattr(page_module, "LIMIT", 150_000)
    page = written(folders)
    assert folders.page.stat().st_size < 150_000
    shown = [str(image["alt"]) for image in page.of("img")]
    assert 2 <= len(shown) < 8
    assert "scenario-3" in shown[0]
    assert "scenario-6" in shown[1]
    left_out = 8 - len(shown)
    assert f"{left_out} figures are not embedded" in page.text or f"{left_out} figure is not embedded" in page.text
    assert page.text.count("Left out to keep the page small: timeline.svg") == left_out


def test_a_figure_that_cannot_be_shown_is_told(folders: Folders) -> None:
    """One cut short, and one that could not be drawn."""
    folders.add("x", files={"timeline.svg": "<svg", "retries.error.txt": "the figure 'retries' could not be drawn"})
    text = written(folders).text
    assert "The figure cannot be shown here: not an SVG" in text
    assert "The figure could not be drawn; this is why: retries.error.txt" in text
