"""Bulk import: each part is spooled through a file of its own, or through memory while the disk is full."""

from __future__ import annotations

import errno
import io
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from shop.errors import Refused, Unavailable
from shop.settings import Settings

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class Spooled:
    """``written`` in bytes; ``in_memory``: how many of the parts found no room on the disk."""

    written: int
    in_memory: int


def spool(parts: int, settings: Settings) -> Spooled:
    """Write ``parts`` spool files.

    A file is closed and gone as soon as its part is done, or (``HANDLES=deferred``) only when all are: then an
    import holds as many descriptors as it has parts. Refused with 503 when the process has none left, and with 507
    when the disk is full and memory may not stand in for it (which holds one part at a time).
    """
    written = in_memory = 0
    try:
        with ExitStack() as at_end:
            for part in range(parts):
                content = f"part {part}\n".encode()
                with ExitStack() as after_part:
                    owner = at_end if settings.handles == "deferred" else after_part
                    in_memory += not _spooled_to_disk(content, settings, owner)
                written += len(content)
    except OSError as error:
        if error.errno in _NO_HANDLES:
            raise Unavailable("out_of_file_handles") from None
        if error.errno in _NO_ROOM:
            raise Refused(507, "no_space_for_import") from None
        raise
    return Spooled(written, in_memory)


def _spooled_to_disk(content: bytes, settings: Settings, owner: ExitStack) -> bool:
    """Spool a part through a file that ``owner`` closes; False when it went through memory for lack of room."""
    try:
        # Unbuffered: else it is closing the file that fails on a full disk, and the file stays.
        file = tempfile.NamedTemporaryFile(dir=settings.spool_dir or None, buffering=0)  # noqa: SIM115  # owner closes
        _write(owner.enter_context(file), content)
    except OSError as error:
        if error.errno not in _NO_ROOM or settings.spool_fallback == "off":
            raise
        _write(io.BytesIO(), content)
        return False
    return True


def _write(file: IO[bytes], content: bytes) -> None:
    """All of it or an error: on a disk that fills up, a write may do a part and say so in its result only."""
    if file.write(content) < len(content):
        raise OSError(errno.ENOSPC, "only a part was written")
