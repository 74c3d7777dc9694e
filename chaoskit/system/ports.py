"""TCP ports for services, given out so that no two runs on one machine take the same.

They lie between 20000 and 32000, below the kernel's ephemeral ports: no outgoing connection takes one before its
server listens. A port is reserved by a lock on one byte of a common file, which ends with the process.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import stat
import tempfile
import threading
from pathlib import Path

from chaoskit.base.errors import BrokenError

FIRST, LAST = 20000, 31999

_lock = threading.Lock()
_given: set[int] = set()
_dice = random.SystemRandom()  # workers that seed `random` alike must not try the same ports
_file: int | None = None


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on and that no other chaoskit process has reserved; ours until we end.

    Raises BrokenError when none is left.
    """
    global _file
    with _lock:
        if _file is None:
            # Never closed: closing any descriptor of the file would give up all locks of the process.
            _file = _open(Path(tempfile.gettempdir(), f"chaoskit-ports-{os.getuid()}.lock"))
        for _ in range(2000):
            port = _dice.randint(FIRST, LAST)
            if port not in _given and _reserve(_file, port):
                if _free(host, port):
                    _given.add(port)
                    return port
                fcntl.lockf(_file, fcntl.LOCK_UN, 1, port)
    raise BrokenError(f"found no free port between {FIRST} and {LAST} on {host}")


def _open(path: Path) -> int:
    """Raises BrokenError for what another user has put there: everybody may write to that folder."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BrokenError(f"{path}, by which runs share the ports, cannot be opened: {error.strerror}") from None
    found = os.fstat(file)
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        os.close(file)
        raise BrokenError(f"{path}, by which runs share the ports, is no file of this user: remove it")
    return file


def _reserve(file: int, port: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
