"""Files of a report folder: whatever was put there by others, no link in it is followed, neither to read nor to write.

A report folder is copied, uploaded and unpacked. A link that was planted in it would put another file's text into a
report, or a report in place of another file; a named pipe would hold us for ever.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from chaoskit.base.errors import BrokenError
from chaoskit.base.plain_files import MOST, open_plain, read_whole

_HERE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK = "a symbolic link, which is not followed"


def open_kept(folder: Path, name: str) -> IO[bytes]:
    """Open ``name`` (it may lie in folders: ``sops/restart.sop.yaml``) of a report ``folder`` for reading.

    Raises OSError for what is missing, is no regular file, or lies behind a link; ``folder`` itself may be one.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise OSError(errno.EPERM, "lies outside the folder", str(folder / name))
    *within, last = parts
    try:
        at = _open_folder(folder, tuple(within))
        try:
            return open_plain(last, folder=at, follow=False)
        finally:
            os.close(at)
    except OSError as error:
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        what = _LINK if linked else error.strerror
        raise OSError(error.errno, what, str(folder / name)) from None  # with ENOENT it is a FileNotFoundError
    except ValueError:
        raise OSError(errno.EINVAL, "no name of a file", repr(name)) from None


def read_kept(folder: Path, name: str) -> bytes:
    """The whole of a file, as :func:`open_kept` opens it. Raises OSError, also where it is larger than ``MOST``."""
    with open_kept(folder, name) as file:
        return read_whole(file, folder / name, MOST)


def read_json(text: str | bytes) -> Any:
    """What JSON says; ``NaN`` and ``Infinity`` are numbers, which a finding may have measured.

    Half of a character, which no file could hold, becomes ``?``. Raises ValueError: not JSON, or nested too deeply.
    """
    try:
        data = json.loads(text)
        if rb"\u" in text if isinstance(text, bytes) else r"\u" in text:
            return json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return data


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file. Raises BrokenError: missing, unreadable, not JSON, nested too deeply, no object."""
    file = folder / name
    try:
        data = read_json(read_kept(folder, name))
    except FileNotFoundError:
        raise BrokenError(f"{folder} holds no recorded scenario ({name} is missing)") from None
    except OSError as error:
        raise BrokenError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BrokenError(f"{file} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise BrokenError(f"{file} cannot be read: it holds no object")
    return data


def refuse_planted(folder: Path) -> None:
    """For programs and loaders that read by path what a report ``folder`` holds: it must be plain files and folders.

    Raises BrokenError for a link, a pipe and their like anywhere in it, and for YAML larger than ``MOST``.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            file = Path(place, name)
            found = file.lstat()
            if stat.S_ISLNK(found.st_mode):
                raise BrokenError(f"{file} is {_LINK}: a report folder holds none")
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
                raise BrokenError(f"{file} is no regular file: a report folder holds none of these")
            if file.suffix in (".yaml", ".yml") and found.st_size > MOST:
                raise BrokenError(f"{file} cannot be read: larger than {MOST >> 20} MB")


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders in a report ``folder``, by name. Raises BrokenError for a link, whatever it leads to."""
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise BrokenError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in found:
        if entry.is_symlink():
            raise BrokenError(f"{entry.path} is {_LINK}: a report folder holds none")
        if entry.is_dir():
            yield Path(entry.path)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """What in a report ``folder`` has such a name, by name; nothing of a folder that is a link."""
    return [] if folder.is_symlink() else sorted(folder.glob(pattern))


def folder_below(root: Path, *names: str) -> Path:
    """The folder of that name below ``root``, whether or not it is there; ``root`` itself may be a link.

    Raises BrokenError for a link on the way, and for a name that leads elsewhere.
    """
    folder = root
    for name in names:
        if not name or name == ".." or "/" in name or "\0" in name:
            raise BrokenError(f"{name!r} is no name of a folder in {folder}")
        folder /= name
        if folder.is_symlink():
            raise BrokenError(f"{folder} is {_LINK}: a report folder holds none")
    return folder


def _open_folder(root: Path, names: tuple[str, ...]) -> int:
    """A folder below ``root``, as a descriptor. Raises OSError for a link on the way."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _HERE, dir_fd=at)
            os.close(at)
            at = deeper
    except BaseException:
        os.close(at)
        raise
    return at


def make_folder(folder: Path) -> None:
    """Make a folder in a report folder, if it is not there. Raises BrokenError where a link or a file has its name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrokenError(f"{folder} cannot be made: {error.strerror}") from None
    if folder.is_symlink():
        raise BrokenError(f"{folder} is {_LINK}: put the folder itself there")


def create_kept(file: Path) -> IO[bytes]:
    """Open an empty file for writing, in place of what was there: a link is removed, not followed. Raises OSError."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _HERE, 0o666)
    return os.fdopen(handle, "wb", buffering=1 << 16)


def copy_kept(source: Path, target: Path) -> None:
    """Copy a folder of a report folder to ``target``, without what is a link in it. Raises OSError."""

    def links(place: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(place, name).is_symlink()]

    if source.is_symlink():
        raise OSError(errno.ELOOP, _LINK, str(source))
    shutil.copytree(source, target, ignore=links)


def write_kept(file: Path, data: str | bytes) -> None:
    """Write a file in place of what was there: a link is replaced, and what it led to stays as it was.

    A reader finds the old text or the new one, never half of one. Raises OSError.
    """
    draft = file.with_name(f".{file.name}.new")
    try:
        with create_kept(draft) as out:
            out.write(data.encode() if isinstance(data, str) else data)
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
