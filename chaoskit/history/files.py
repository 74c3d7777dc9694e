"""Files of a report folder: whatever was put there by others, no link in it is followed, neither to read nor to write.

A report folder is copied, uploaded and unpacked. A link that was planted in it would put another file's text into a
report, or a report in place of another file; a named pipe would hold us for ever.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from chaoskit.errors import BrokenError

MOST = 64 << 20
"""Bytes that are read of a file which is read whole. Rows are read line by line, and may be more."""

_HERE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_kept(folder: Path, name: str) -> IO[bytes]:
    """Open ``name`` (it may lie in folders: ``sops/restart.sop.yaml``) of a report ``folder`` for reading.

    Raises OSError for what is missing, is no regular file, or lies behind a link; ``folder`` itself may be one.
    """
    *within, last = Path(name).parts
    if Path(name).is_absolute() or ".." in within or last == "..":
        raise OSError(errno.EPERM, "lies outside the folder", str(folder / name))
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in within:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _HERE, dir_fd=at)
            os.close(at)
            at = deeper
        handle = os.open(last, os.O_RDONLY | _HERE, dir_fd=at)
    except OSError as error:
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        what = "a symbolic link, which is not followed" if linked else os.strerror(error.errno or 0)
        raise OSError(error.errno, what, str(folder / name)) from None  # with ENOENT it is a FileNotFoundError
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(folder / name))
    return os.fdopen(handle, "rb")


def read_kept(folder: Path, name: str) -> bytes:
    """The whole of a file, as :func:`open_kept` opens it. Raises OSError, also where it is larger than :data:`MOST`."""
    with open_kept(folder, name) as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, f"larger than {MOST >> 20} MB", str(folder / name))
    return data


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file. Raises BrokenError: missing, unreadable, not JSON, nested too deeply, no object."""
    file = folder / name
    try:
        data = json.loads(read_kept(folder, name))
    except FileNotFoundError:
        raise BrokenError(f"{folder} holds no recorded scenario ({name} is missing)") from None
    except OSError as error:
        raise BrokenError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BrokenError(f"{file} cannot be read: {error}") from None
    except RecursionError:
        raise BrokenError(f"{file} cannot be read: nested too deeply") from None
    if not isinstance(data, dict):
        raise BrokenError(f"{file} cannot be read: it holds no object")
    return data


def refuse_links(folder: Path) -> None:
    """Raise BrokenError for a link anywhere in a report ``folder``: for loaders that read by path what it holds."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (file := Path(place, name)).is_symlink():
                raise BrokenError(f"{file} is a symbolic link, which is not followed: a run's folder holds none")


def write_kept(file: Path, data: str | bytes) -> None:
    """Write a file in place of what was there: a link is replaced, and what it led to stays as it was.

    A reader finds the old text or the new one, never half of one. Raises OSError.
    """
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _HERE, 0o666)
        with os.fdopen(handle, "wb") as out:
            out.write(data.encode() if isinstance(data, str) else data)
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
