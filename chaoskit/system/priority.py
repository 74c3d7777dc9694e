"""Who goes first on a busy machine: what measures, then what is measured; reports take what is left over.

Niceness as of nice(7): -20 goes first, 19 last. To go before others takes root, CAP_SYS_NICE or a limit of niceness
(RLIMIT_NICE); where none is there, all stay as they are. Linux only: elsewhere a niceness is one of whole processes,
and what was lowered cannot be raised again.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import TimeoutExpired
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal

T = TypeVar("T")

MEASURES = -10
"""Niceness of the traffic worker, the proxies, the machine's probe, and the engine while it runs a scenario."""
MEASURED = -5
"""Niceness of the services."""
REPORTS = 19
"""Niceness of pictures and reports."""

KIND = "session-priority"
"""Of the journal's entries."""

AT_ONCE, IN_THE_END = 10.0, 900.0
"""Seconds that a scenario waits for pictures which are being drawn, and pictures for all scenarios of other workers."""

SHARES = 2048
"""Weight of our own containers among all (cpu-shares; 1024 is what Docker gives)."""

_LINUX = sys.platform == "linux"


@cache
def may_go_first() -> bool:
    """Whether this user may give a process a higher priority; not where this one was started with a lower one."""

    def tried() -> bool:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, MEASURES)  # of this thread alone, which ends with it
        except OSError:
            return False
        return True

    if not _LINUX or os.getpriority(os.PRIO_PROCESS, 0) > 0:
        return False
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(tried).result()


def prioritise(pid: int, niceness: int) -> None:
    """Give a process that was just started, and all that it will start, a niceness, where that is allowed.

    Where the kernel weighs sessions before processes (autogroup of sched(7)) a session that it leads gets it, too.
    """
    if not _LINUX or (niceness < 0 and not may_go_first()):
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
        if os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness), encoding="ascii")


def session_first(journal: Journal) -> None:
    """Have the session that we were started in (a terminal, a CI job) go before others, until ``journal`` undoes it.

    Threads of the engine cannot leave it, and where sessions are weighed they would wait behind all services. One that
    somebody else has given a weight keeps it. No effect where it is not allowed.

    Runs that share a session (workers of pytest-xdist) each hold a share of it, which ends with the process; the last
    gives the weight back.
    """
    group, before = _weight("self")
    if not group or before not in (0, MEASURES) or not may_go_first():
        return
    share = _share(group)
    if before == MEASURES and _alone(share):  # nobody of ours has given it
        _lock_of(group).unlink(missing_ok=True)
        os.close(share)
        return
    fcntl.flock(share, fcntl.LOCK_SH)
    _shares.setdefault(group, []).append(share)
    journal.add(KIND, group=group, niceness=0, owner=os.getpid())
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(MEASURES), encoding="ascii")


_shares: dict[str, list[int]] = {}
"""What this process holds of a session: a lock each, until it gives it back or ends."""


def _lock_of(group: str) -> Path:
    from chaoskit.system.sweep import state_folder  # lazy: it imports how things are undone

    return state_folder() / f"session{group.replace('/', '-')}.lock"


def _share(group: str) -> int:
    return os.open(_lock_of(group), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _alone(share: int) -> bool:
    """Whether nobody holds a share."""
    try:
        fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _undo_session(facts: Facts) -> None:
    """By whatever process is still in it, if nobody holds a share any more, and only if it has the weight that we gave
    it."""
    group = str(facts["group"])
    if facts.get("owner") == os.getpid() and _shares.get(group):
        os.close(_shares[group].pop())
    share = _share(group)
    try:
        if _alone(share):
            _give_back(group, int(facts["niceness"]))
            _lock_of(group).unlink(missing_ok=True)
    finally:
        os.close(share)


def _give_back(group: str, niceness: int) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        if _weight(process.name) == (group, MEASURES):
            (process / "autogroup").write_text(str(niceness), encoding="ascii")
            return


register_kind(KIND, _undo_session, lasting=True)  # {group, niceness}: give the session the weight it had


def _weight(process: str) -> tuple[str, int]:
    """How the kernel weighs the session of a process: the group's name, and its niceness. No name where it does not."""
    with suppress(OSError, ValueError):
        text = Path(f"/proc/{process}/autogroup").read_text(encoding="ascii")  # "/autogroup-12 nice 0"
        group, _, niceness = text.strip().partition(" nice ")
        return group, int(niceness)
    return "", 0


def niceness_of(pid: int) -> int:
    """Of a process that runs; 0 where it cannot be told."""
    with suppress(OSError):
        return os.getpriority(os.PRIO_PROCESS, pid)
    return 0


@contextmanager
def measuring(folder: Path) -> Iterator[None]:
    """Have the calling thread, and threads that it starts, go first until the context is left.

    ``folder`` is common to all processes of a run: until then :func:`nothing_measured` waits in the others.
    """
    with _locked(folder, fcntl.LOCK_SH, AT_ONCE), _first():
        yield


@contextmanager
def nothing_measured(folder: Path) -> Iterator[None]:
    """Wait until no process measures anything; while the context lasts none begins to."""
    with _locked(folder, fcntl.LOCK_EX, IN_THE_END):
        yield


@contextmanager
def _locked(folder: Path, lock: int, limit: float) -> Iterator[None]:
    """Hold a lock on a folder, if it is to be had within ``limit`` seconds; it ends with its holder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def had() -> bool:
        try:
            fcntl.flock(handle, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # not every file system has locks
            pass
        return True

    try:
        with suppress(TimeoutExpired):
            wait_for(had, what=f"a lock on {folder}", limit=limit)
        yield
    finally:
        os.close(handle)


@contextmanager
def _first() -> Iterator[None]:
    if not may_go_first():
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(before, MEASURES))
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def at_last(make: Callable[[], T]) -> T:
    """What ``make`` gives, computed on a thread of the lowest priority."""
    with ThreadPoolExecutor(1, "chaoskit-report", _go_last) as pool:
        return pool.submit(make).result()


def _go_last() -> None:
    if _LINUX:
        os.setpriority(os.PRIO_PROCESS, 0, REPORTS)
