"""What was planted in a report folder: no link is followed, nothing outside is read or overwritten, nothing hangs."""

from __future__ import annotations

import os

import pytest

from chaoskit.base.errors import BrokenError
from chaoskit.history import files
from chaoskit.history.files import open_kept, read_kept, read_object, refuse_planted, write_kept


@pytest.fixture
def outside(tmp_path):
    """A folder of somebody else, beside the report folder."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("theirs")
    (tmp_path / "run").mkdir()
    return tmp_path / "outside"


def test_links_are_not_read(tmp_path, outside):
    """Neither at the end of the path nor on the way; a folder that the user names may be one."""
    run = tmp_path / "run"
    (run / "run.json").symlink_to(outside / "secret.txt")
    (run / "sops").symlink_to(outside)
    for name in ("run.json", "sops/secret.txt"):
        with pytest.raises(OSError, match="symbolic link"):
            open_kept(run, name)
    for name in ("../outside/secret.txt", str(outside / "secret.txt")):
        with pytest.raises(OSError, match="outside the folder"):
            open_kept(run, name)
    (tmp_path / "latest").symlink_to(outside)
    assert read_kept(tmp_path / "latest", "secret.txt") == b"theirs"
    with pytest.raises(BrokenError, match=r"run\.json cannot be read: a symbolic link"):
        read_object(run, "run.json")
    with pytest.raises(BrokenError, match="symbolic link"):
        refuse_planted(run)


def test_what_is_no_file(tmp_path, outside):
    """A named pipe does not hold us, a folder is no file, what is missing says so."""
    os.mkfifo(tmp_path / "run" / "pipe")
    (tmp_path / "run" / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            open_kept(tmp_path / "run", name)
    with pytest.raises(FileNotFoundError):
        open_kept(tmp_path / "run", "missing")


def test_too_large(tmp_path, monkeypatch):
    """What is read whole has a bound."""
    monkeypatch.setattr(files, "MOST", 1 << 20)
    (tmp_path / "a").write_bytes(b"x" * (1 << 20))
    assert len(read_kept(tmp_path, "a")) == 1 << 20
    (tmp_path / "a").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(OSError, match="larger than 1 MB"):
        read_kept(tmp_path, "a")


@pytest.mark.parametrize("text", ["[" * 200_000, "[]", "{", "\0", '{"a": ' * 200_000])
def test_json_that_cannot_be_read(tmp_path, text):
    """One clear error that names the file."""
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BrokenError, match=r"run\.json cannot be read"):
        read_object(tmp_path, "run.json")


@pytest.mark.parametrize("draft", [False, True])
def test_links_are_not_written_through(tmp_path, outside, draft):
    """The link is replaced: what it led to stays as it was, also where the link has the draft's name."""
    page = tmp_path / "run" / "chaoskit.html"
    (page.with_name(".chaoskit.html.new") if draft else page).symlink_to(outside / "secret.txt")
    write_kept(page, "ours")
    assert (outside / "secret.txt").read_text() == "theirs"
    assert (page.read_text(), page.is_symlink()) == ("ours", False)
    assert [file.name for file in page.parent.iterdir()] == ["chaoskit.html"]


def test_a_file_that_cannot_be_written(tmp_path):
    """No draft is left, and what was there stays."""
    (tmp_path / "a").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_kept(tmp_path / "a", "\ud800")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a", "before")]
