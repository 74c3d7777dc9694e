"""The page's colours: contrast of every pair that is read, computed from the style sheet, in light and in dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = files("chaoskit.report.html").joinpath("templates", "page.css").read_text("utf-8")
COLOURS = dict(re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", CSS))
VERDICTS = ("held", "violated", "vacuous", "broken", "skipped")
PAIRS = [
    *((text, ground, 4.5) for text in ("ink", "minor", "link", *VERDICTS) for ground in ("paper", "sheet")),
    *(("on-badge", badge, 4.5) for badge in VERDICTS),
    ("focus", "paper", 3.0),
    ("focus", "sheet", 3.0),
]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2), 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_defined() -> None:
    """Black on white is 21, a known grey 4.54."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS)
def test_text_stands_out_from_its_ground(text: str, ground: str, least: float, theme: int) -> None:
    """4.5 for text, 3 for the mark of the focus."""
    one, other = (COLOURS[name].split(", ")[theme] for name in (text, ground))
    assert contrast(one, other) >= least, f"{text} {one} on {ground} {other}"


def test_every_colour_is_one_of_them() -> None:
    """No colour stands in the style sheet by itself, but white for figures and paper."""
    body = CSS[CSS.index("}") :]
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", body)) == {"#ffffff"}
    assert set(re.findall(r"var\(--([a-z-]+)\)", CSS)) <= set(COLOURS)
