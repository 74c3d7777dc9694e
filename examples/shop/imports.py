"""Bulk import: each part is spooled through a file of its own."""

from __future__ import annotations

import errno
import tempfile
from contextlib import ExitStack

from shop.errors import Unavailable


def spool(parts: int, *, deferred: bool) -> int:
    """Write ``parts`` spool files and return the bytes written.

    A file is closed as soon as its part is done, or (``deferred``) only when all are: then an import holds as
    many descriptors as it has parts. Refused with 503 when the process has none left.
    """
    written = 0
    try:
        with ExitStack() as at_end:
            for part in range(parts):
                with ExitStack() as after_part:
                    owner = at_end if deferred else after_part
                    file = owner.enter_context(tempfile.TemporaryFile())
                    written += file.write(f"part {part}\n".encode())
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise Unavailable("out_of_file_handles") from None
        raise
    return written
