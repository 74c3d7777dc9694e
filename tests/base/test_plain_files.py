"""Whatever lies where a file is expected: it is read, or there is one clear reason, at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chaoskit.base import plain_files
from chaoskit.base.plain_files import is_folder, is_plain, matching, open_plain, read_text


def test_a_text(tmp_path: Path) -> None:
    """Also by way of a link, and with the line ends of other systems."""
    (tmp_path / "file").write_bytes("ä\r\nb\rc".encode())
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "link") == "ä\nb\nc"
    with pytest.raises(OSError) as refused:
        open_plain(tmp_path / "link", follow=False)
    assert refused.value.errno == errno.ELOOP


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pipe", "not a regular file"),
        ("endless", "not a regular file"),
        ("folder", "Is a directory"),
        ("missing", "No such file or directory"),
        ("large", "larger than 0 MB"),
        ("bytes", "not UTF-8 text"),
        ("a\0b", "no name of a file"),
        ("a" * 300, "File name too long"),
        ("a" * 300 + "/*", "No such file or directory"),
    ],
)
def test_what_is_no_text(tmp_path: Path, name: str, why: str) -> None:
    """The reason is told, and nothing waits for a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "bytes").write_bytes(b"\xff")
    if "/" not in name:
        with pytest.raises(OSError) as refused:
            read_text(tmp_path / name, 100)
        assert refused.value.strerror == why
    if name not in ("large", "bytes"):
        assert not is_plain(tmp_path / name)
        assert matching(tmp_path, name) == []
    assert is_folder(tmp_path / name) == (name == "folder")


def test_what_a_pattern_means(tmp_path: Path) -> None:
    """Regular files, sorted; a pattern may be absolute."""
    for name in ("b.yml", "a.yml"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.yml")
    assert matching(tmp_path, "*.yml") == matching(Path("elsewhere"), f"{tmp_path}/*.yml")
    assert [file.name for file in matching(tmp_path, "*.yml")] == ["a.yml", "b.yml"]
    assert matching(tmp_path, "a\0/*") == []


def test_the_most_is_more_than_anybody_writes() -> None:
    """The limits are on what was planted."""
    assert 1 << 20 < plain_files.MOST_TEXT < plain_files.MOST
