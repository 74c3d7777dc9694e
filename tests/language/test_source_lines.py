"""Every node of a file can be asked for its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.language import source

TEXT = """\
# a comment
a: 1

b:
  - x
  - y: 2
    z: [1,
        2]
  -
    - deep
"on": {c: 3,
  d: 4}
e: |
  text
  more
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("a",), 2),
        (("b",), 4),
        (("b", 0), 5),
        (("b", 1), 6),
        (("b", 1, "y"), 6),
        (("b", 1, "z"), 7),
        (("b", 1, "z", 1), 8),
        (("b", 2, 0), 10),
        (("on", "c"), 11),
        (("on", "d"), 12),
        (("e",), 13),
        (("nosuch",), 2),
        (("b", 9), 4),
        (("b", "nosuch"), 4),
        (("on", "nosuch", "deeper"), 11),
        (("a", "deeper"), 2),
    ],
)
def test_the_line_of_a_node(path: tuple[str | int, ...], line: int) -> None:
    """One-based, of the key; of the nearest parent for what is not there."""
    page = source.read(Path("x.yaml"), TEXT)
    assert page.line(path) == line


NAMES = st.text("abcdefghij", min_size=1, max_size=4)
TREES = st.recursive(
    st.integers(0, 9),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def written(tree: Any, indent: int, path: tuple[str | int, ...], lines: list[str], at: dict[Any, int]) -> None:
    """Write a tree as block YAML with each node in a line of its own, noting which."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        scalar = isinstance(value, int)
        mark = f"{key}:" if isinstance(tree, dict) else "-"
        lines.append(" " * indent + mark + (f" {value}" if scalar else ""))
        # A block in a list has its own line, the one after the dash.
        at[(*path, key)] = len(lines) + (0 if scalar or isinstance(tree, dict) else 1)
        if not scalar:
            written(value, indent + 2, (*path, key), lines, at)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_the_lines_of_any_tree(tree: dict[str, Any]) -> None:
    """Whatever is nested in what, each node is found in the line where it was written."""
    lines: list[str] = []
    at: dict[Any, int] = {}
    written(tree, 0, (), lines, at)
    page = source.read(Path("x.yaml"), "\n".join(lines))
    assert page.data == tree
    assert {path: page.line(path) for path in at} == at


def test_files_are_shown_as_a_person_types_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the working directory the path is relative, elsewhere it is whole."""
    monkeypatch.chdir(tmp_path)
    assert source.shown(tmp_path / "a" / "b.yaml") == Path("a/b.yaml")
    assert source.shown(tmp_path.parent / "b.yaml") == tmp_path.parent / "b.yaml"


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    """Files from other systems have the same lines."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    page = source.read(file)
    assert page.data == {"a": 1, "b": 2}
    assert page.line(("b",)) == 2
