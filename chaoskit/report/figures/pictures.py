"""The figures that a scenario has, as files. A figure that cannot be drawn is told, and changes no verdict."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.expectations.retries import Retries
from chaoskit.history.files import write_kept
from chaoskit.history.store import History
from chaoskit.judge.verdict import Verdict
from chaoskit.language.scenario import Scenario
from chaoskit.report.figures.facts import Facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureWarning(UserWarning):
    """A figure could not be drawn. The verdict does not depend on it."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure. ``name`` is ``timeline`` or ``retries``, ``about`` says what it shows."""

    name: str
    about: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class Saved:
    """A figure in a folder: ``svg`` and ``png`` are its files, or None and ``error`` says why there are none."""

    name: str
    about: str
    svg: Path | None
    png: Path | None
    error: str = ""


_ABOUT = {
    "timeline": "what was injected, what callers saw, what reached the dependency, and when it recovered",
    "retries": "attempts of each operation, the pauses between them, and their bounds",
}


def names(scenario: Scenario) -> list[str]:
    """The figures that a scenario has."""
    judged = any(isinstance(planned.expectation, Retries) for planned in scenario.expectations)
    return ["timeline", "retries"] if judged else ["timeline"]


def draw(scenario: Scenario, history: History, verdict: Verdict, *, note: str = "") -> Iterator[Picture]:
    """All figures of a scenario. ``note`` is a line under the title. The same arguments give the same bytes."""
    facts = Facts(scenario, history, verdict, note)
    for name in names(scenario):
        yield _draw(name, facts)


def save(scenario: Scenario, history: History, verdict: Verdict, folder: Path, *, note: str = "") -> list[Saved]:
    """Write ``timeline.svg``, ``timeline.png``, ``retries.svg`` ... into ``folder``. Never raises for a figure.

    One that fails leaves ``NAME.error.txt`` instead, and a :class:`FigureWarning`, unless warnings are errors: a
    picture must not decide about a scenario.
    """
    facts = Facts(scenario, history, verdict, note)
    return [_save(name, facts, folder) for name in names(scenario)]


def _draw(name: str, facts: Facts) -> Picture:
    from chaoskit.report.figures import canvas, retries, style, timeline

    page: Callable[[Facts], Figure] = {"timeline": timeline.draw, "retries": retries.draw}[name]
    with style.applied():
        svg, png = canvas.files(page(facts))
    return Picture(name, _ABOUT[name], svg, png)


def _save(name: str, facts: Facts, folder: Path) -> Saved:
    svg, png, failed = (folder / f"{name}.{kind}" for kind in ("svg", "png", "error.txt"))
    try:
        picture = _draw(name, facts)
        write_kept(svg, picture.svg)
        write_kept(png, picture.png)
    except Exception as error:  # whatever matplotlib or the disk may raise: the verdict stands without a picture
        why = f"the figure {name!r} could not be drawn: {type(error).__name__}: {error}"
        text = f"{why}\n\n{traceback.format_exc()}"
        _leave(failed, text)
        _warn(why)
        return Saved(name, _ABOUT[name], None, None, text)
    return Saved(name, _ABOUT[name], svg, png)


def _leave(file: Path, text: str) -> None:
    """A text beside the history, if the folder takes one: the disk may be what failed."""
    with contextlib.suppress(OSError):
        write_kept(file, text)


def _warn(why: str) -> None:
    # Where warnings are errors, this one would fail a scenario that has held; there the text alone must do.
    with contextlib.suppress(FigureWarning):
        warnings.warn(FigureWarning(why), stacklevel=2)
