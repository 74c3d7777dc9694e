"""File systems of a limited size over a folder of this machine, and files that fill one; journaled, and gone again."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.base.errors import BrokenError
from chaoskit.system.pids import Pid
from chaoskit.system.undo import Facts, below, register_kind

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal

_BLOCK = 1 << 20
"""Bytes written at once while filling."""


def _undo_mount(facts: Facts) -> None:
    while _is_mounted(Path(facts["path"]), facts["source"]):
        # Lazily: what the service has open there must not keep the real folder hidden.
        done = subprocess.run(["umount", "-l", facts["path"]], capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise BrokenError(f"cannot unmount {facts['path']}: {done.stderr.strip()}")


def _undo_filler(facts: Facts) -> None:
    if facts["pid"] is not None and not Pid(facts["pid"], facts["start"]).alive():
        return  # a container's folder is reached by way of its process; what is left goes with the container
    below(facts["path"], facts["root"]).unlink(missing_ok=True)


register_kind("mount", _undo_mount, path="path")  # {path, source}: unmount it
register_kind("filler", _undo_filler)  # {path, pid, start (null: the machine's own path)}: remove the file


def _mounted() -> Iterator[tuple[str, Path]]:
    """Source and place of all that is mounted."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        source, place, *_ = line.split(" ")
        yield source, Path(place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))


def _is_mounted(path: Path, source: str) -> bool:
    return (source, path) in _mounted()


def mounts_in(folder: Path) -> list[Path]:
    """What is mounted somewhere below a folder."""
    return [place for _, place in _mounted() if folder in place.parents]


def source_of(journal: Journal) -> str:
    """What a run's own mounts say where they come from."""
    return f"chaoskit-{journal.run_id}"


def mount_tmpfs(journal: Journal, path: Path, size: int) -> None:
    """Mount a tmpfs of ``size`` bytes over a folder, with the folder's owner and mode; it is journaled already."""
    now = path.stat()
    options = f"size={size},mode={now.st_mode & 0o7777:o},uid={now.st_uid},gid={now.st_gid},nosuid,nodev"
    argv = ["mount", "-t", "tmpfs", "-o", options, source_of(journal), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise BrokenError(f"cannot mount a tmpfs over {path}: {done.stderr.strip()}")


def fill(path: Path, most: int) -> int:
    """Write a file until the file system is full, at most ``most`` bytes; gives how many it took."""
    written, block = 0, b"\0" * _BLOCK
    with path.open("wb", buffering=0) as file:
        size = _BLOCK
        while written < most:
            try:
                written += file.write(block[: min(size, most - written)])
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                if size == 1:
                    break
                size = max(1, size // 16)  # what is left may be less than a block
    return written


def is_full(path: Path) -> bool:
    """True when the file system has no room for one more page at the end of a file."""
    probe = path.with_name(path.name + "-probe")
    try:
        probe.write_bytes(b"\0" * os.sysconf("SC_PAGE_SIZE"))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            probe.unlink()
    return False
