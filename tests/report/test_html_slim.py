"""Figures made small: the same picture in far fewer bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from figures_histories import SVG, drawn, scenarios, usual
from page_browser import PageBrowser

from chaoskit.report.html.slim import data_url, slim


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A timeline as chaoskit draws it, with text that means something in XML and URLs."""
    name = "100% \\\"slow\\\" & <b>'odd'</b> #1"
    (scenario,) = scenarios(tmp_path_factory.mktemp("figure"), name=f'"{name}"')
    return drawn(scenario, usual())["timeline"].picture.svg


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[PageBrowser]:
    """A browser without a window."""
    with PageBrowser(tmp_path / "profile") as browser:
        yield browser


def texts(svg: bytes | str) -> list[str]:
    """Every text in a figure."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_much_smaller(figure: bytes) -> None:
    """A third at most, and not a text is lost."""
    small = slim(figure)
    assert len(small) < len(figure) / 3
    assert texts(small) == texts(figure)
    assert any("<b>'odd'</b>" in text for text in texts(small))


def test_the_address_holds_the_figure(figure: bytes) -> None:
    """Decoded as a browser does it, it is the same figure; nothing in it ends an attribute or begins a fragment."""
    url = data_url(slim(figure))
    assert not re.search(r"[\"<>#&\n]", url)
    decoded = unquote(url.removeprefix("data:image/svg+xml,"))
    assert texts(decoded) == texts(figure)


def test_every_point_is_still_there(figure: bytes) -> None:
    """Runs of points become paths with markers: as many points as before."""
    before = sum(1 for _ in ElementTree.fromstring(figure).iter(f"{SVG}use"))
    root = ElementTree.fromstring(slim(figure))
    style = "".join(element.text or "" for element in root.iter(f"{SVG}style"))
    marked = set(re.findall(r"\.(c\d+)\{[^}]*marker:", style))
    paths = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("class") in marked]
    assert sum(len(path.removeprefix("M").split()) // 2 for path in paths) > 250
    after = sum(len(path.removeprefix("M").split()) // 2 for path in paths) + sum(1 for _ in root.iter(f"{SVG}use"))
    assert after == before


def test_every_reference_leads_somewhere(figure: bytes) -> None:
    """Clips, hatches and markers have new names; none is missing."""
    text = slim(figure).decode()
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert referred
    assert referred == set(re.findall(r' id="([^"]+)"', text))


def test_what_is_no_figure_is_refused() -> None:
    """A file cut short, or another kind of XML."""
    with pytest.raises(ValueError, match="not an SVG"):
        slim(b"<svg")
    with pytest.raises(ValueError, match="the root is 'html'"):
        slim(b"<html/>")


def test_it_looks_the_same(figure: bytes, browser: PageBrowser, tmp_path: Path) -> None:
    """Rendered by a browser, fewer than one pixel in a hundred differs by more than a shade (a tenth of a point)."""
    from PIL import Image, ImageChops

    shots = []
    for name, svg in (("before", figure), ("after", slim(figure))):
        file = tmp_path / f"{name}.svg"
        file.write_bytes(svg)
        browser.open(file.as_uri())
        browser.screenshot(tmp_path / f"{name}.png", height=900)
        shots.append(Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())).convert("L"))
    assert shots[0].getextrema()[0] < 60, "the picture is empty"
    shades = ImageChops.difference(*shots).histogram()
    assert sum(shades[48:]) < shots[0].width * shots[0].height / 100
