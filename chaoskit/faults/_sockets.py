"""Which TCP connections of this machine belong to which process."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


def connections_to(pids: Iterable[int], ports: Collection[int]) -> Iterator[tuple[int, int]]:
    """Local and remote port of each connection of these processes that leads to one of ``ports``.

    Only IPv4, and only the network that we are in.
    """
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    for line in Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        local, remote = (int(address.partition(":")[2], 16) for address in words[1:3])
        if remote in ports and words[9] in inodes:
            yield local, remote


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's open sockets."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]
