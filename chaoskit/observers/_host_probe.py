"""The process that looks at the machine: how late a timer wakes it, and who takes the processors and the disk.

A process of its own, so that neither the GIL nor the engine's work makes it late; standard library only, so that it
starts at once. Its arguments are the pids of the engine and of other roots, and marks of what is ours. It reads more
roots (pids, separated by blanks) and writes, a line each, what it saw of the last :data:`LOOK` seconds as JSON. It ends
with its standard input.

*Ours* is whatever descends from a root or bears a mark in its environment (it may have been adopted by init).
All other processor time is foreign: all that was busy less ours. Where roots live in containers, the daemon that serves
them is ours, too.

What a process writes lies in memory first, and reaches the disk later, in the name of no process. So a balance is kept
of what ours have written and the disk has not: what reaches it is ours as far as that goes, and foreign beyond.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

PERIOD = 0.02
"""Seconds between two wakings."""
LOOK = 0.25
"""Seconds between two looks at /proc."""

STAYS = 35.0
"""Seconds after which the kernel has written what lay in memory (dirty_expire_centisecs, and its next round)."""
DRIFT = 1 << 18
"""Bytes by which the kernel's count of what lies in memory may be off: each processor counts for itself first."""

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_SECTOR = 512
_DAEMONS = {"dockerd", "containerd", "docker-proxy", "docker-init"}
_SHIM = "containerd-shim"


def _text(path: str) -> str:
    """A file of /proc; empty where it is not there, or is not for us."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a third of what an object with a buffer costs
    except OSError:
        return ""
    try:
        return os.read(file, 65536).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(file)


def _names(folder: str) -> list[str]:
    """What is in a folder of /proc or /sys; nothing where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


@dataclass
class _Process:
    """What is known of one of ours: processor seconds of its own and of the children it has reaped; bytes that it and
    these had the disk read, and wrote; for how many seconds it has run."""

    parent: int
    own: float
    reaped: float
    read: int
    wrote: int
    age: float


_NOTHING = _Process(0, 0.0, 0.0, 0, 0, 0.0)


@dataclass(frozen=True)
class Used:
    """By ours since the last look: seconds of processor, seconds that threads waited for one, seconds that those of the
    busiest process ran or waited, bytes that they had the disk read, and wrote. Not ``whole`` if some that ran before
    are ours only since then: what they used since the last look is not in it."""

    processor: float
    waited: float | None
    busiest: float | None
    read: int
    wrote: int
    whole: bool


@dataclass
class Family:
    """Our processes, and what they used since the last look."""

    engine: int
    marks: Sequence[bytes] = ()
    beside: frozenset[int] = frozenset()
    """Roots of what is run side by side on purpose: its load is ours, but no request of this run goes through it."""
    roots: set[int] = field(init=False)
    _ours: dict[int, bool] = field(default_factory=dict)
    _processes: dict[int, _Process] = field(default_factory=dict)
    _threads: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    _alive: set[int] = field(default_factory=set)
    _in_containers: bool = False
    _beside: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roots = {self.engine, *self.beside}

    def add(self, roots: Iterable[int]) -> None:
        """More roots. Who is whose is asked anew."""
        new = set(roots) - self.roots
        if new:
            self.roots |= new
            self._ours = {pid: True for pid, ours in self._ours.items() if ours}
            self._beside = {}

    def look(self) -> Used:
        """What was used since the last look."""
        pids = [int(name) for name in _names("/proc") if name.isdigit()]
        alive = set(pids)
        self._ours = {pid: ours for pid, ours in self._ours.items() if pid in alive}
        self._beside = {pid: beside for pid, beside in self._beside.items() if pid in alive}
        before, self._processes = self._processes, {}
        for pid in pids:
            if self._is_ours(pid) and (stat := _stat(pid)) is not None:
                self._processes[pid] = _Process(stat.parent, stat.own, stat.reaped, *_disk(pid), stat.age)
        # What one that was there before we knew that it is ours has used until now is not of this look.
        joined = {pid: now for pid, now in self._processes.items() if pid in self._alive and pid not in before}
        read, wrote = self._moved(before)
        before.update(joined)
        self._alive = alive
        return Used(self._used(before), *self._scheduled(joined.keys()), read, wrote, not joined)

    def _is_ours(self, pid: int) -> bool:
        known = self._ours.get(pid)
        if known is None:
            self._ours[pid] = known = self._find_out(pid)
        return known

    def _find_out(self, pid: int) -> bool:
        stat = _stat(pid)
        if stat is None:
            return False
        if pid in self.roots:
            self._in_containers = self._in_containers or _contained(pid)
            return True
        if stat.parent == 2 or pid <= 2:  # the kernel's own threads
            return False
        if stat.parent > 1 and stat.parent != pid and self._is_ours(stat.parent):
            return not _is_daemon(_stat(stat.parent))  # a daemon's children are those of everybody
        if self._in_containers and _is_daemon(stat):
            return True
        if not self.marks:
            return False
        return not set(self.marks).isdisjoint(_text(f"/proc/{pid}/environ").encode().split(b"\0"))

    def _is_beside(self, pid: int) -> bool:
        """Whether it is ours only for what is run side by side: the nearest root above it is one of these."""
        if pid not in self._beside:
            above = pid
            while above in self._processes and above not in self.roots:
                above = self._processes[above].parent
            self._beside[pid] = above in self.beside
        return self._beside[pid]

    def _used(self, before: dict[int, _Process]) -> float:
        """A child's time goes to its parent when it is reaped: what was counted already is not counted again."""
        buried: dict[int, float] = {}
        for pid, last in before.items():
            if pid not in self._processes:
                buried[last.parent] = buried.get(last.parent, 0.0) + last.own + last.reaped
        used = 0.0
        for pid, process in self._processes.items():
            last = before.get(pid) or _NOTHING
            used += max(0.0, process.own - last.own)
            used += max(0.0, process.reaped - last.reaped - buried.get(pid, 0.0))
        return used

    def _moved(self, before: dict[int, _Process]) -> tuple[int, int]:
        """Read and written; of whom we see first, as much as may not have reached the disk yet. As with time, a child's
        bytes go to its parent when it is reaped."""
        buried: dict[int, tuple[int, int]] = {}
        for pid, last in before.items():
            if pid not in self._processes:
                read, wrote = buried.get(last.parent, (0, 0))
                buried[last.parent] = read + last.read, wrote + last.wrote
        reads, writes = 0, 0
        for pid, process in self._processes.items():
            last, (read, wrote) = before.get(pid) or _NOTHING, buried.get(pid, (0, 0))
            share = 1.0 if pid in before else min(1.0, STAYS / max(process.age, _TICK))
            reads += max(0, process.read - last.read - read)
            writes += round(share * max(0, process.wrote - last.wrote - wrote))
        return reads, writes

    def _scheduled(self, joined: Collection[int]) -> tuple[float | None, float | None]:
        """Seconds that threads waited, and that those of the busiest process ran or waited; of ``joined`` from now on.

        The engine and this process are left out, and what runs beside this run: no request goes through them.
        """
        before, self._threads = self._threads, {}
        waited, busiest = 0, 0
        for pid in self._processes.keys() - {self.engine, os.getpid()}:
            if self.beside and self._is_beside(pid):
                continue
            ready = 0
            for thread, ran, waiting in _scheduled(pid):
                self._threads[pid, thread] = ran, waiting
                if pid in joined:
                    continue
                ran_before, waiting_before = before.get((pid, thread), (0, 0))
                waited += max(0, waiting - waiting_before)
                ready += max(0, ran - ran_before) + max(0, waiting - waiting_before)
            busiest = max(busiest, ready)
        return (waited / 1e9, busiest / 1e9) if self._threads else (None, None)


@dataclass(frozen=True)
class _Stat:
    name: str
    parent: int
    own: float
    reaped: float
    age: float


def _stat(pid: int) -> _Stat | None:
    head, _, rest = _text(f"/proc/{pid}/stat").rpartition(")")
    fields = rest.split()
    if len(fields) < 20:
        return None
    user, system, users, systems = map(int, fields[11:15])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) * _TICK
    return _Stat(head.partition("(")[2], int(fields[1]), (user + system) * _TICK, (users + systems) * _TICK, age)


def _is_daemon(stat: _Stat | None) -> bool:
    return stat is not None and (stat.name in _DAEMONS or stat.name.startswith(_SHIM[:15]))


def _contained(pid: int) -> bool:
    """Whether the process runs in a container."""
    for _ in range(64):
        stat = _stat(pid)
        if stat is None or stat.parent <= 1:
            return False
        pid = stat.parent
        parent = _stat(pid)
        if parent is not None and parent.name.startswith(_SHIM[:15]):
            return True
    return False


def _disk(pid: int) -> tuple[int, int]:
    """Bytes that the process and the children it has reaped had the disk read, and that they wrote (to memory)."""
    found = dict(line.split(": ") for line in _text(f"/proc/{pid}/io").splitlines() if ": " in line)
    return int(found.get("read_bytes", 0)), int(found.get("write_bytes", 0))


def _scheduled(pid: int) -> Iterator[tuple[str, int, int]]:
    """By thread, the nanoseconds that it ran, and that it was ready and no processor was free for it."""
    for thread in _names(f"/proc/{pid}/task"):
        fields = _text(f"/proc/{pid}/task/{thread}/schedstat").split()
        if len(fields) > 1:
            yield thread, int(fields[0]), int(fields[1])


def _machine() -> tuple[float, float, int]:
    """Seconds that processors were busy, seconds stolen from this machine, and how many processors there are."""
    lines = _text("/proc/stat").splitlines()
    fields = [int(number) for number in lines[0].split()[1:9]] if lines else [0] * 8
    user, nice, system, _idle, _iowait, interrupt, soft, stolen = (fields + [0] * 8)[:8]
    cores = sum(1 for line in lines if line.startswith("cpu")) - 1
    return (user + nice + system + interrupt + soft) * _TICK, stolen * _TICK, max(1, cores)


def _disks() -> tuple[int, int]:
    """Bytes that all disks have read, and written."""
    disks = {name for name in _names("/sys/block") if not name.startswith(("loop", "ram", "zram", "dm-", "md"))}
    rows = [line.split() for line in _text("/proc/diskstats").splitlines()]
    found = [row for row in rows if len(row) > 9 and row[2] in disks]
    return sum(int(row[5]) for row in found) * _SECTOR, sum(int(row[9]) for row in found) * _SECTOR


def _unwritten() -> int:
    """Bytes that have been written to files and not reached a disk yet."""
    found = dict(line.split(":") for line in _text("/proc/meminfo").splitlines() if ":" in line)
    return sum(int(found.get(name, "0").split()[0]) * 1024 for name in ("Dirty", "Writeback"))


def _stalled(what: str) -> float | None:
    """Seconds that somebody waited for ``what`` (``cpu``, ``io``); None where the kernel does not tell."""
    for line in _text(f"/proc/pressure/{what}").splitlines():
        if line.startswith("some") and "total=" in line:
            return int(line.rpartition("total=")[2]) / 1e6
    return None


@dataclass(frozen=True)
class _Totals:
    """All that only grows, as of one moment."""

    at: float
    busy: float
    stolen: float
    read: int
    written: int
    unwritten: int
    cpu: float | None
    io: float | None

    @classmethod
    def now(cls) -> _Totals:
        busy, stolen, _ = _machine()
        return cls(time.monotonic(), busy, stolen, *_disks(), _unwritten(), _stalled("cpu"), _stalled("io"))


def _growth(after: float | None, before: float | None, seconds: float) -> float | None:
    return None if after is None or before is None else round(max(0.0, after - before) / seconds, 4)


class Probe:
    """Looks again and again; each look is plain data, as :class:`chaoskit.history.rows.Host` has it."""

    def __init__(self, engine: int, marks: Sequence[bytes] = (), beside: Iterable[int] = ()) -> None:
        self.family = Family(engine, marks, frozenset(beside) - {engine})
        ours = self.family.look()
        self.cores = _machine()[2]
        self._last = _Totals.now()
        self._unwritten = min(ours.wrote, self._last.unwritten)

    def look(self, late: float) -> dict[str, Any] | None:
        """What happened since the last look; ``late`` is by how much the timer was, at most. None where it is not known
        whose it was: services have just been named."""
        ours = self.family.look()
        last, self._last = self._last, _Totals.now()
        own_disk = ours.read + self._reached(ours.wrote, last)
        if not ours.whole:
            return None
        seconds = max(1e-3, self._last.at - last.at)
        busy = max(0.0, self._last.busy - last.busy)
        return {
            "at": self._last.at,
            "seconds": round(seconds, 4),
            "late": round(late, 5),
            "cores": self.cores,
            "own": round(ours.processor / seconds, 3),
            "foreign": round(max(0.0, busy - ours.processor) / seconds, 3),
            "stolen": round(max(0.0, self._last.stolen - last.stolen) / seconds, 3),
            "waited": _growth(ours.waited, 0.0, seconds),
            "busiest": _growth(ours.busiest, 0.0, seconds),
            "cpu_pressure": _growth(self._last.cpu, last.cpu, seconds),
            "io_pressure": _growth(self._last.io, last.io, seconds),
            "own_disk": round(own_disk / seconds),
            "foreign_disk": round(
                max(0, self._last.read - last.read + self._last.written - last.written - own_disk) / seconds
            ),
        }

    def _reached(self, wrote: int, last: _Totals) -> int:
        """Bytes of ours that the disk has written since, having written ``wrote`` to memory meanwhile.

        All that was written to memory is there still, or on the disk: a page that is written to in part counts as a
        whole, and with large pages as far more than there can be.
        """
        written = max(0, self._last.written - last.written)
        all_wrote = max(0, self._last.unwritten - last.unwritten + written) + DRIFT
        self._unwritten += min(wrote, all_wrote)
        reached = min(written, self._unwritten)
        self._unwritten = min(self._unwritten - reached, self._last.unwritten)
        return reached


def main() -> None:
    """Look until standard input ends."""
    engine, *beside = (int(word) for word in sys.argv[1:] if word.isdigit())
    probe = Probe(engine, [word.encode() for word in sys.argv[1:] if "=" in word], beside)
    due, next_look, worst = time.monotonic(), time.monotonic() + LOOK, 0.0
    with select.epoll() as inbox:
        inbox.register(0, select.EPOLLIN)
        while True:
            due += PERIOD
            time.sleep(max(0.0, due - time.monotonic()))
            worst = max(worst, time.monotonic() - due)
            if time.monotonic() >= next_look:
                if inbox.poll(0):
                    told = os.read(0, 65536)
                    if not told:
                        return
                    probe.family.add(map(int, told.split()))
                if (seen := probe.look(worst)) is not None:
                    sys.stdout.write(json.dumps(seen) + "\n")
                    sys.stdout.flush()
                next_look, worst = time.monotonic() + LOOK, 0.0
            due = max(due, time.monotonic() - PERIOD)  # what was missed is not made up for


if __name__ == "__main__":
    main()
