"""A file may hold anything, be anything, and be of any size: it is refused at once, with a line."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language import source
from chaoskit.language.loader import load

MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 2000))
BRACKETS = "a: [" + "[], " * 300_000 + "]\n"


def told(read: Callable[[], object]) -> list[str]:
    """What is wrong with a file, a text for each mistake, found in little time."""
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        read()
    assert time.monotonic() - began < 30
    return [f"{problem.line}: {problem.told}" for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("".join(f"k{n}: 1\n" for n in range(500_000)), 1, "more than 100000 values"),
        ("a: b\n" * 500_000, 1, "more than 100000 values"),
        (BRACKETS, 1, "more than 100000 values"),
        (MERGES, 440, "more than 100000 values"),
        ("a: " + "9" * 5000, 1, "is not usable as a value"),
        ("a: 0x" + "f" * 5000, 1, "is not usable as a value"),
        ("a: !!int ''", 1, "'' is not usable as a value"),
        ("a: !!float ''", 1, "'' is not usable as a value"),
        ("a: !!int x", 1, "'x' is not usable as a value"),
        ("{a: 1, b: !!int x, c: 2}", 1, "not YAML: 'x' is not usable as a value$"),
        ("a: 1\nb: !reset x", 2, "the tag !reset is not allowed"),
        ("x" * (9 << 20), 1, "cannot be read: larger than 8 MB"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_nobody_writes(tmp_path: Path, text: str, line: int, says: str) -> None:
    """It is not taken apart to its end."""
    (tmp_path / "x.yaml").write_text(text)
    (only,) = told(lambda: source.read(tmp_path / "x.yaml"))
    assert only.startswith(f"{line}: ")
    assert re.search(says, only)


def test_what_people_do_write(tmp_path: Path) -> None:
    """Numbers of all sizes, dates and times as text, merges, and with ``tags`` those that are not ours."""
    text = "b: &b {x: 1}\na: {<<: *b, y: 0x10, z: 1e400}\nday: 2001-13-45\nat: 99:00:00\nno: no\n"
    (tmp_path / "x.yaml").write_text(text + "t: !reset [1]\nu: [!override {a: b}]\n")
    page = source.read(tmp_path / "x.yaml", tags=True)
    assert page.data == {
        "b": {"x": 1}, "a": {"x": 1, "y": 16, "z": "1e400"}, "day": "2001-13-45", "at": "99:00:00", "no": "no",
        "t": None, "u": [None],
    }  # fmt: skip


def test_very_many_mistakes(tmp_path: Path, desk: Any) -> None:
    """The first are told, and that there are more: none costs more than the one before."""
    (tmp_path / "x.yaml").write_text("a: b\n" * 40_000)
    problems = told(lambda: source.read(tmp_path / "x.yaml"))
    assert problems[0] == "2: 'a' stands here again; first in line 1"
    assert problems[-1] == "201: and more mistakes, which are not told"
    assert len(problems) == InputError.MOST
    desk.file.write_text(desk.scenario + "".join(f"k{n}: b\n" for n in range(40_000)))
    problems = told(lambda: load(desk.file))
    assert "unknown key 'k0'" in problems[0]
    assert len(problems) == InputError.MOST


@pytest.mark.parametrize("what", ["scenario", "environment"])
@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_is_no_file(desk: Any, what: str, kind: str) -> None:
    """Nothing waits for a pipe that nobody writes to, or reads a device to its end."""
    file = desk.file if what == "scenario" else desk.environment_file
    desk.file.write_text(desk.scenario)
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    assert told(lambda: load(desk.file)) == ["1: cannot be read: not a regular file"]
