"""Which process is meant: a pid together with its start time, so that a reused pid is never taken for ours.

Start times are the kernel's clock ticks since boot (field 22 of ``/proc/PID/stat``). A *pidfile* holds one
line, ``PID START``, written by the process itself before its program begins (see :mod:`chaoskit.system.processes`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.errors import TimeoutExpired

MARK = "CHAOSKIT_PIDFILE"
"""Environment variable that names the pidfile of the process a child belongs to."""

OURS = "CHAOSKIT_OURS"
"""Environment variable with the pid of who started us beside others: pytest-xdist's controller, or a CI job's shell."""

REFUSED = "refused\n"
"""Text of a pidfile that tells a process which has not begun yet that it must not begin any more."""

_PIDS = 1 << 31
"""No pid is as large."""


def own_mark() -> dict[str, str]:
    """:data:`OURS`, if it is set: what descends from a daemon must be given it, so that who runs beside us knows it."""
    return {OURS: os.environ[OURS]} if os.environ.get(OURS, "").isdigit() else {}


@dataclass(frozen=True)
class Pid:
    """One process, for good: ``start`` is its start time in clock ticks since boot. Raises ValueError for no pid."""

    pid: int
    start: int

    def __post_init__(self) -> None:
        # Both may have been read from a file; the pid becomes part of a path, and goes to kill().
        if type(self.pid) is not int or type(self.start) is not int or not 0 < self.pid < _PIDS:
            raise ValueError(f"no process: pid {self.pid!r}, start {self.start!r}")

    def alive(self) -> bool:
        """True while this very process runs; a zombie is dead."""
        stat = stat_of(self.pid)
        return stat is not None and stat.identity == self and stat.alive

    def signal(self, number: int) -> bool:
        """Send a signal; False when the process is gone (or its pid means another one now)."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True)
class Stat:
    """What the kernel tells of a process. ``state`` is its letter (``Z`` and ``X`` are dead), ``ticks`` the processor
    time of its own and of the children that it has reaped, in clock ticks."""

    pid: int
    state: str
    parent: int
    group: int
    ticks: int
    threads: int
    start: int

    @property
    def alive(self) -> bool:
        """Whether it runs; a zombie is dead."""
        return self.state not in "ZX"

    @property
    def identity(self) -> Pid:
        """The process for good."""
        return Pid(self.pid, self.start)


def stat_of(pid: int) -> Stat | None:
    """What the kernel tells of a process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the program's name may hold blanks and brackets
    ticks = sum(map(int, fields[11:15]))
    return Stat(pid, fields[0], int(fields[1]), int(fields[2]), ticks, int(fields[17]), int(fields[19]))


def identify(pid: int) -> Pid | None:
    """The process that has ``pid`` now, or None."""
    stat = stat_of(pid)
    return None if stat is None else stat.identity


def _all() -> Iterator[Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := stat_of(int(entry.name))) is not None:
            yield stat


def family(leader: Pid) -> list[Pid]:
    """``leader`` first, then the members of its process group and all its descendants, also those that have
    made a session of their own (PostgreSQL's backends do)."""
    everyone = list(_all())
    found = {leader.pid: leader}
    grown = True
    while grown:
        grown = False
        for stat in everyone:
            if stat.pid not in found and (stat.parent in found or stat.group == leader.pid):
                found[stat.pid] = stat.identity
                grown = True
    return list(found.values())


def stragglers(pidfile: Path) -> list[Pid]:
    """Processes with the mark of ``pidfile`` in their environment: a daemon that outlived its parent, say."""
    mark = f"{MARK}={pidfile}".encode()
    return [stat.identity for stat in _all() if mark in environment(stat.pid)]


def environment(pid: int) -> list[bytes]:
    """The entries (``NAME=value``) that a process was started with; none where it is gone, or not for us to read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def inner_pid(pid: int) -> int:
    """How a process of a container numbers itself. Raises ProcessLookupError or FileNotFoundError when it is gone."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(numbers.split()[-1])


def wait_gone(pids: Iterable[Pid], limit: float) -> list[Pid]:
    """Wait at most ``limit`` seconds until all are dead; gives those that are not."""
    deadline = time.monotonic() + limit
    left = [pid for pid in pids if pid.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.005)
        left = [pid for pid in left if pid.alive()]
    return left


def describe_exit(status: int) -> str:
    """``exit status 1`` or ``killed by SIGKILL``, with a hint where one is known."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    hints = {125: " (it was told not to begin)", 126: " (not executable)", 127: " (no such program)"}
    return f"exit status {status}{hints.get(status, '')}"


def signal_all(pids: Iterable[Pid], number: int) -> None:
    """Send a signal to each that still runs."""
    for pid in pids:
        pid.signal(number)


def read_pidfile(pidfile: Path) -> Pid | None:
    """Who wrote ``pidfile``; None when nobody did or it was refused."""
    try:
        words = pidfile.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    return Pid(int(words[0]), int(words[1])) if len(words) == 2 else None


def end_by_pidfile(pidfile: Path, known: Pid | None = None, *, first: int = signal.SIGTERM, grace: float = 1.0) -> bool:
    """End the process of ``pidfile`` with all its family, whatever state it is in; True if something ran.

    ``known`` is that process where it was learnt in another way: the file may be gone, and a program that writes
    over its environment (Redis does) cannot be found by its mark.

    Also settles a process that was forked but has not written its pidfile yet: it finds the file taken and
    ends by itself. ``first`` is sent to its main process; what still runs once that has ended, or after
    ``grace`` seconds, is killed. Raises TimeoutExpired when something survives SIGKILL for 5 s.
    """
    leader = (None if _refuse(pidfile) else _await_writer(pidfile)) or known
    members = family(leader) if leader is not None and leader.alive() else []
    members += [pid for pid in stragglers(pidfile) if pid not in members]
    if not members:
        return False
    if leader in members:
        leader.signal(first)
        signal_all(members, signal.SIGCONT)  # a stopped process cannot act on the first signal
        wait_gone([leader], grace)
    left = {*members, *stragglers(pidfile)}
    signal_all(left, signal.SIGKILL)
    survivors = wait_gone(left, 5.0)
    if survivors:
        names = ", ".join(str(pid.pid) for pid in survivors)
        raise TimeoutExpired(f"waited 5 s for killed processes to end: {names} (see {pidfile})")
    return True


def _refuse(pidfile: Path) -> bool:
    """Take the pidfile before its process does. False when it was taken already (or its folder is gone)."""
    try:
        handle = os.open(pidfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (FileExistsError, FileNotFoundError):
        return False
    with os.fdopen(handle, "w") as file:
        file.write(REFUSED)
    return True


def _await_writer(pidfile: Path) -> Pid | None:
    """The writer may be between creating the file and writing its line."""
    deadline = time.monotonic() + 1.0
    while (leader := read_pidfile(pidfile)) is None and time.monotonic() < deadline:
        try:
            if pidfile.read_text(encoding="ascii") == REFUSED:
                break
        except FileNotFoundError:
            break
        time.sleep(0.005)
    return leader
