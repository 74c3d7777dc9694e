"""Figures as files and in Allure: where they lie, and that one that fails changes no verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from figures_histories import Made, scenarios, usual

from chaoskit.engine.session import Result
from chaoskit.judge.verdict import ControlVerdict
from chaoskit.report.allure.result import attach
from chaoskit.report.figures import FigureWarning, save

RETRIES = "  retries: {on: dep, attempts: '<= 3'}"
WHY = "the figure 'timeline' could not be drawn: RuntimeError: no ink"


def broken(*_: object) -> None:
    """Stands in for a figure that cannot be drawn."""
    raise RuntimeError("no ink")


@pytest.fixture
def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline cannot be drawn."""
    monkeypatch.setattr("chaoskit.report.figures.timeline.draw", broken)


def saved(folder: Path, made: Made) -> Any:
    """Figures of a scenario with retries, saved into the folder."""
    (scenario,) = scenarios(folder, expect=RETRIES)
    return save(scenario, made.history, made.judged(scenario), folder)


def test_files_in_the_folder(tmp_path: Path) -> None:
    """SVG and PNG of each figure, under their names."""
    figures = saved(tmp_path, usual())
    assert [(figure.name, figure.error) for figure in figures] == [("timeline", ""), ("retries", "")]
    for figure in figures:
        assert figure.svg == tmp_path / f"{figure.name}.svg"
        assert figure.svg.read_bytes().startswith(b"<?xml")
        assert figure.png == tmp_path / f"{figure.name}.png"
        assert figure.png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_ink")
def test_a_figure_that_fails_is_told_and_the_others_are_drawn(tmp_path: Path) -> None:
    """A warning, and the reason in a file with its traceback."""
    with pytest.warns(FigureWarning, match=WHY):
        timeline, retries = saved(tmp_path, usual())
    assert (timeline.svg, timeline.png) == (None, None)
    assert timeline.error.startswith(WHY)
    assert "in broken" in (tmp_path / "timeline.error.txt").read_text(encoding="utf-8")
    assert retries.svg is not None


@pytest.mark.usefixtures("no_ink")
def test_where_warnings_are_errors_a_figure_still_decides_nothing(tmp_path: Path) -> None:
    """The scenario has held or not; the text of the reason must do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timeline, _ = saved(tmp_path, usual())
    assert timeline.error.startswith(WHY)


def test_a_folder_that_takes_no_files(tmp_path: Path) -> None:
    """A full disk, say: told like any other failure."""
    (scenario,) = scenarios(tmp_path)
    made = usual()
    with pytest.warns(FigureWarning, match="FileNotFoundError"):
        (figure,) = save(scenario, made.history, made.judged(scenario), tmp_path / "missing")
    assert figure.svg is None


class _Listener:
    """Takes the place of allure-pytest's own, with a test that is running."""

    def __init__(self) -> None:
        from allure_commons.model2 import TestResult
        from allure_commons.reporter import AllureReporter

        self.allure_logger = AllureReporter()
        self.allure_logger.schedule_test("1", TestResult(uuid="1", name="one"))


@pytest.fixture
def attached() -> Iterator[dict[str, bytes]]:
    """What is attached to the running test, by name."""
    from allure_commons import hookimpl, plugin_manager

    found: dict[str, bytes] = {}

    class Plugin:
        @hookimpl
        def attach_data(self, body: Any, name: str, attachment_type: Any, extension: Any) -> None:
            found[name] = body.encode() if isinstance(body, str) else body

        @hookimpl
        def attach_file(self, source: str, name: str, attachment_type: Any, extension: Any) -> None:
            found[name] = Path(source).read_bytes()

    plugin = Plugin()
    plugin_manager.register(plugin)
    yield found
    plugin_manager.unregister(plugin)


def result(folder: Path, control: bool = False) -> Result:
    """A result as the session gives it."""
    (scenario,) = scenarios(folder)
    made = usual()
    verdict = made.judged(scenario)
    (folder / "run.json").write_text(json.dumps({"wall_clock_minus_monotonic": 0.0}))
    judged = ControlVerdict("caught", "caught by during.ask.p95", verdict) if control else None
    return Result(scenario, folder, made.history, verdict, judged, 5.0, 7)


def test_allure_gets_svg_and_png(tmp_path: Path, attached: dict[str, bytes]) -> None:
    """The same bytes as in the folder; a control's picture says what it is."""
    attach(result(tmp_path, control=True), _Listener())
    assert attached["timeline"] == (tmp_path / "timeline.svg").read_bytes()
    assert attached["timeline (PNG)"] == (tmp_path / "timeline.png").read_bytes()
    assert b"control, run with the protection off: caught by during.ask.p95" in attached["timeline"]


@pytest.mark.usefixtures("no_ink")
def test_allure_gets_the_reason_where_there_is_no_picture(tmp_path: Path, attached: dict[str, bytes]) -> None:
    """And everything else as ever."""
    with pytest.warns(FigureWarning):
        attach(result(tmp_path), _Listener())
    assert attached["timeline: no picture"].decode().startswith(WHY)
    assert "timeline" not in attached
    assert "findings" in attached


def test_matplotlib_is_imported_for_the_first_figure_and_not_before() -> None:
    """Neither by the reporters nor by the package of figures; and never pyplot, which keeps figures alive."""
    code = (
        "import sys, chaoskit.report.allure.result, chaoskit.report.figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from chaoskit.report.figures import style, text\n"
        "with style.applied(): text.width('x')\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_changes_no_global_setting(tmp_path: Path) -> None:
    """A project's own use of matplotlib in the same pytest run looks as it did; and so do our figures after it."""
    import matplotlib

    before = dict(matplotlib.rcParams)
    (first, _) = saved(tmp_path, usual())
    drawn = first.svg.read_bytes()
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        (again, _) = saved(tmp_path, usual())
    assert again.svg.read_bytes() == drawn
