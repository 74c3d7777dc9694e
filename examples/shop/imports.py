"""Bulk import: each part is spooled through a file of its own, or through memory while the disk is full."""

from __future__ import annotations

import errno
import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
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


@contextmanager
def spool_folder(settings: Settings) -> Iterator[None]:
    """Have the folder of ``SPOOL_DIR`` while the service runs. Gone afterwards if it is empty, as it should be."""
    folder = Path(settings.spool_dir)
    if settings.spool_dir:
        folder.mkdir(parents=True, exist_ok=True)
    yield
    if settings.spool_dir:
        with suppress(OSError):  # a mount point, or not empty
            folder.rmdir()


def spool(parts: int, settings: Settings) -> Spooled:
    """Write ``parts`` spool files.

    A file is closed and gone as soon as its part is done, or (``HANDLES=deferred``) only when all are: then an
    import holds as many descriptors as it has parts. Refused with 503 when the process has none left, and with 507
    when the disk is full and memory may not stand in for it (which holds one part at a time).
    """
    folder = settings.spool_dir or None
    written = in_memory = 0
    try:
        with ExitStack() as at_end:
            for part in range(parts):
                content = f"part {part}\n".encode()
                try:
                    with ExitStack() as after_part:
                        owner = at_end if settings.handles == "deferred" else after_part
                        file = owner.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix="import-"))
                        written += _write(file, content)
                except OSError as error:
                    if error.errno not in _NO_ROOM or settings.spool_fallback == "off":
                        raise
                    written += _write(io.BytesIO(), content)
                    in_memory += 1
    except OSError as error:
        if error.errno in _NO_HANDLES:
            raise Unavailable("out_of_file_handles") from None
        if error.errno in _NO_ROOM:
            raise Refused(507, "no_space_for_import") from None
        raise
    return Spooled(written, in_memory)


def _write(file: IO[bytes], content: bytes) -> int:
    """Written for good, as far as room goes: what is only buffered fails when it is too late to say so."""
    written = file.write(content)
    file.flush()
    return written
