"""Files that others wrote: only regular ones are opened, none holds us for ever, and none is larger than we can take.

A named pipe, a device or a link to one may lie wherever a file is expected; whoever opened it would wait, or read
without end. What is wrong is always an OSError whose ``strerror`` a person understands.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

MOST = 64 << 20
"""Bytes that are read of a file which is read whole."""

MOST_TEXT = 8 << 20
"""Bytes of a text that a person wrote: a scenario, an environment, rules, ``.env``."""


def open_plain(file: str | Path, *, folder: int | None = None, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading; ``folder`` is a descriptor that ``file`` is relative to.

    Raises OSError for what is missing or no regular file, and unless links are to be ``follow``\\ ed, for a link.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(file, flags, dir_fd=folder)
    except ValueError:
        raise OSError(errno.EINVAL, "no name of a file", repr(str(file))) from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = os.strerror(errno.EISDIR) if stat.S_ISDIR(kind) else "not a regular file"
        raise OSError(errno.EINVAL, what, str(file))
    return os.fdopen(handle, "rb")


def read_whole(file: IO[bytes], name: Path, most: int = MOST) -> bytes:
    """The rest of an open file, called ``name``. Raises OSError where that is more than ``most`` bytes."""
    data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MB", str(name))
    return data


def read_text(file: Path, most: int = MOST_TEXT) -> str:
    """A text file, its line ends as ``\\n``. Raises OSError, also for what is not UTF-8."""
    with open_plain(file) as opened:
        data = read_whole(opened, file, most)
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "not UTF-8 text", str(file)) from None


def is_plain(file: Path) -> bool:
    """Whether there is a regular file, itself or by way of a link; not for what can be no name of a file."""
    return os.path.isfile(file)  # noqa: PTH113  # Path.is_file raises for a name that is too long


def matching(folder: Path, pattern: str) -> list[Path]:
    """The regular files that a path or glob relative to ``folder`` means, sorted; it may be absolute, too."""
    import glob

    try:
        found = glob.glob(str(folder / pattern), recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    except ValueError:
        return []  # no name of a file
    return sorted(filter(is_plain, map(Path, found)))


def is_folder(place: Path) -> bool:
    """Whether there is a folder, itself or by way of a link; not for what can be no name of one."""
    return os.path.isdir(place)  # noqa: PTH112  # Path.is_dir raises for a name that is too long
