"""The figures of a scenario for the page: embedded as images, or a link and why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaoskit.history.files import read_kept
from chaoskit.report.html.slim import data_url, slim

_SIZE = re.compile(rb'viewBox="0 0 (\d{1,6})(?:\.\d+)? (\d{1,6})(?:\.\d+)?"')
_ABOUT = {
    "timeline": "Timeline of what was injected, what callers saw and when it recovered",
    "retries": "Attempts of each operation and the pauses between them",
}


@dataclass
class Picture:
    """A figure. ``url`` is the image itself; without it ``missing`` says why the page only links to ``file``."""

    name: str
    file: Path | None
    about: str
    url: str = ""
    width: int = 0
    height: int = 0
    missing: str = ""


def of(folder: Path) -> list[Picture]:
    """The figures in a scenario's folder: the timeline first."""
    files = sorted(folder.glob("*.svg"), key=lambda file: (file.stem != "timeline", file.stem))
    drawn = [_picture(file) for file in files]
    return drawn + [_not_drawn(file) for file in sorted(folder.glob("*.error.txt"))]


def _picture(file: Path) -> Picture:
    picture = Picture(file.stem, file, _ABOUT.get(file.stem, f"Figure {file.stem}"))
    try:
        svg = slim(read_kept(file.parent, file.name))
    except (OSError, ValueError) as error:
        picture.missing = f"The figure cannot be shown here: {error}"
        return picture
    picture.url = data_url(svg)
    if size := _SIZE.search(svg):
        picture.width, picture.height = (int(length) for length in size.groups())
    return picture


def _not_drawn(file: Path) -> Picture:
    name = file.name.removesuffix(".error.txt")
    return Picture(name, file, _ABOUT.get(name, f"Figure {name}"), missing="The figure could not be drawn; this is why")


def fit(pictures: Iterable[Picture], room: int) -> int:
    """Leave out what does not fit into ``room`` bytes; those that come first are kept first. How many are left out."""
    left_out = 0
    for picture in pictures:
        if len(picture.url) <= room:
            room -= len(picture.url)
        else:
            picture.url, picture.missing = "", "Left out to keep the page small"
            left_out += 1
    return left_out
