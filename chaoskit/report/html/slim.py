"""Figures made small enough for forty of them on one page: the same picture in about a fifth of the bytes.

matplotlib writes each point as an element of its own, every style in full and every coordinate to a millionth of a
point. Here equal styles become classes, runs of equal points become one path with markers, coordinates are rounded
to a tenth of a point, and names that nothing refers to go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from urllib.parse import quote
from xml.etree import ElementTree as Tree

SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_ROTATED_BY_NOTHING = re.compile(r"rotate\(-?0 [^)]*\)")
_MEASURES = ("d", "x", "y", "width", "height", "transform", "points", "viewBox")
_RUN = 4
"""So many equal points in a row become one path."""


def slim(svg: bytes) -> bytes:
    """The same picture, smaller. Raises ValueError for what is no SVG."""
    try:
        root = Tree.fromstring(svg)  # noqa: S314 -- figures that chaoskit itself has drawn
    except Tree.ParseError as error:
        raise ValueError(f"not an SVG: {error}") from None
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"not an SVG: the root is {root.tag!r}")
    for element in list(root):
        if element.tag == f"{{{SVG}}}metadata":
            root.remove(element)
    _round(root)
    _sort_axes(root)
    markers = _points_as_paths(root)
    if markers is not None:
        root.insert(0, markers)
    _styles_as_classes(root)
    _short_names(root)
    _unwrap(root)
    _merge_lines(root, _sheet(root).text or "")
    Tree.register_namespace("", SVG)
    text: str = Tree.tostring(root, encoding="unicode")
    return text.replace(" />", "/>").encode()


def data_url(svg: bytes) -> str:
    """An SVG as the address of an image, safe between double quotes in HTML. Shorter than base64 by a tenth.

    Service text in a figure can do nothing there: a browser runs no script of an image and loads nothing for it.
    """
    # A tag has no > inside (it is written &gt;), and the quotes of most hold nothing that quotes.
    text = re.sub(r"<[^>]*>", lambda tag: tag[0] if "'" in tag[0] else tag[0].replace('"', "'"), svg.decode("utf-8"))
    return "data:image/svg+xml," + quote(text, safe=" !$'()*+,-./:;=?@[]_{|}~")


def _round(root: Tree.Element) -> None:
    for element in root.iter():
        for name in _MEASURES:
            if (value := element.get(name)) is not None:
                element.set(name, _numbers(value) if name != "d" else _path(value))
        if _ROTATED_BY_NOTHING.fullmatch(element.get("transform", "")):
            del element.attrib["transform"]
        if (target := element.attrib.pop(_HREF, None)) is not None:
            element.set("href", target)
        if element.tag != f"{{{SVG}}}text":
            element.text = (element.text or "").strip() or None
        element.tail = None


def _numbers(text: str, digits: int = 1) -> str:
    def shorter(match: re.Match[str]) -> str:
        rounded = f"{float(match.group()):.{digits}f}".rstrip("0").rstrip(".")
        return "0" if rounded == "-0" else rounded

    return _NUMBER.sub(shorter, text)


def _path(text: str) -> str:
    """A path without what can be left out: a line after a line needs no letter of its own."""
    # Small shapes (markers) are drawn near zero, where a tenth of a point would be seen.
    largest = max((abs(float(number)) for number in _NUMBER.findall(text)), default=0.0)
    short = _numbers(" ".join(text.split()), 1 if largest > 20 else 2)
    short = re.sub(r" ?([A-Za-z]) ?", r"\1", short)
    # After M and after L, further pairs are lines anyway.
    return re.sub(r"M[^A-Za-z]+(?:L[^A-Za-z]+)+", lambda line: line[0].replace("L", " "), short)


def _sort_axes(root: Tree.Element) -> None:
    """Grid lines, then tick marks, then texts: matplotlib writes them in turns, so that no two equal ones meet."""
    ranks = {f"{{{SVG}}}{tag}": rank for rank, tag in enumerate(("defs", "path", "use", "text"))}

    def key(element: Tree.Element) -> tuple[int, str, str]:
        rank = ranks.get(element.tag, len(ranks))
        looks = (element.get("style", ""), element.get("href", "")) if rank < ranks[f"{{{SVG}}}text"] else ("", "")
        return rank, *looks

    for axis in root.iter(f"{{{SVG}}}g"):
        if axis.get("id", "").startswith("matplotlib.axis"):
            axis[:] = sorted(_leaves(axis), key=key)


def _leaves(parent: Tree.Element) -> Iterator[Tree.Element]:
    for child in parent:
        if child.tag == f"{{{SVG}}}g" and not set(child.attrib) - {"id"}:
            yield from _leaves(child)
        else:
            yield child


def _points_as_paths(root: Tree.Element) -> Tree.Element | None:
    """Runs of equal ``use`` elements as one path with a marker at each of its points. Returns the markers."""
    shapes = {element.get("id", ""): element for element in root.iter(f"{{{SVG}}}path") if element.get("id")}
    markers: dict[tuple[str, str], str] = {}
    definitions = Tree.Element(f"{{{SVG}}}defs")
    for parent in list(root.iter(f"{{{SVG}}}g")):
        new: list[Tree.Element] = []
        for key, run in groupby(parent, key=_kind_of_point):
            points = list(run)
            shape = shapes.get(key[0].removeprefix("#")) if key else None
            if key is None or shape is None or len(points) < _RUN:
                new.extend(points)
                continue
            if key not in markers:
                markers[key] = f"p{len(markers)}"
                definitions.append(_marker(markers[key], shape, key[1]))
            where = " ".join(f"{point.get('x')} {point.get('y')}" for point in points)
            # Not stroke="none" as an attribute: a marker would be drawn, but figures style everything by CSS.
            style = f"fill:none;stroke:none;marker:url(#{markers[key]})"
            new.append(Tree.Element(f"{{{SVG}}}path", {"d": f"M{where}", "style": style}))
        parent[:] = new
    return definitions if len(definitions) else None


def _kind_of_point(element: Tree.Element) -> tuple[str, str] | None:
    if element.tag != f"{{{SVG}}}use" or set(element.attrib) - {"x", "y", "href", "style"}:
        return None
    return element.get("href", ""), element.get("style", "")


def _marker(name: str, shape: Tree.Element, style: str) -> Tree.Element:
    marker = Tree.Element(f"{{{SVG}}}marker", {"id": name, "markerUnits": "userSpaceOnUse", "overflow": "visible"})
    own = "; ".join(filter(None, (style, shape.get("style", ""))))
    Tree.SubElement(marker, f"{{{SVG}}}path", {"d": shape.get("d", ""), "style": own})
    return marker


def _styles_as_classes(root: Tree.Element) -> None:
    styled = [element for element in root.iter() if element.get("style") and element.tag != f"{{{SVG}}}marker"]
    names: dict[str, str] = {}
    for element in styled:
        style = _numbers(element.attrib.pop("style").replace("; ", ";").replace(": ", ":"), 2)
        element.set("class", names.setdefault(style, f"c{len(names)}"))
    sheet = _sheet(root)
    sheet.text = (sheet.text or "") + "".join(f".{name}{{{style}}}" for style, name in names.items())


def _sheet(root: Tree.Element) -> Tree.Element:
    sheet = next(root.iter(f"{{{SVG}}}style"), None)
    return Tree.SubElement(root, f"{{{SVG}}}style") if sheet is None else sheet


def _short_names(root: Tree.Element) -> None:
    texts = [text for element in root.iter() for text in (*element.attrib.values(), element.text or "")]
    used = [name for text in texts for name in _REFERENCE.findall(text)]
    used += [element.get("href", "").removeprefix("#") for element in root.iter()]
    names = {name: f"i{index}" for index, name in enumerate(dict.fromkeys(used))}

    def renamed(text: str) -> str:
        return _REFERENCE.sub(lambda match: f"url(#{names[match[1]]})", text)

    for element in root.iter():
        name = element.attrib.pop("id", None)
        element.attrib.update({key: renamed(value) for key, value in element.attrib.items()})
        if (target := element.get("href", "")).startswith("#"):
            element.set("href", "#" + names[target[1:]])
        if name in names:
            element.set("id", names[name])
        if element.tag == f"{{{SVG}}}style":
            element.text = renamed(element.text or "")


def _unwrap(parent: Tree.Element) -> None:
    """Groups that say nothing give way to what they hold."""
    children: list[Tree.Element] = []
    for child in parent:
        _unwrap(child)
        children.extend(child if child.tag == f"{{{SVG}}}g" and not child.attrib else _kept(child))
    parent[:] = children


def _merge_lines(root: Tree.Element, sheet: str) -> None:
    """Neighbours that are lines of one look become one. Not those one can see through: crossings would differ."""
    plain = {
        name
        for name, style in re.findall(r"\.(c\d+)\{([^}]*)\}", sheet)
        if "fill:none" in style and "opacity" not in style and "marker" not in style
    }

    def look(element: Tree.Element) -> tuple[tuple[str, str], ...] | None:
        if element.tag != f"{{{SVG}}}path" or element.get("class") not in plain:
            return None
        return tuple(sorted((name, value) for name, value in element.attrib.items() if name != "d"))

    for parent in [root, *root.iter(f"{{{SVG}}}g")]:
        new: list[Tree.Element] = []
        for key, run in groupby(parent, key=look):
            lines = list(run)
            if key is not None:
                lines[0].set("d", "".join(line.get("d", "") for line in lines))
                del lines[1:]
            new.extend(lines)
        parent[:] = new


def _kept(element: Tree.Element) -> Iterable[Tree.Element]:
    empty = element.tag in (f"{{{SVG}}}g", f"{{{SVG}}}defs") and not len(element)
    return () if empty else (element,)
