"""Which processes belong to a service: it is seldom the one alone that was started."""

from __future__ import annotations

import os
from collections.abc import Mapping

from chaoskit.system.pids import MARK, Stat, environment, inner_pid, stat_of


class Families:
    """Finds the living processes of services, quickly enough for many times a second.

    To a service belong its main process, that one's group, their descendants, and what bears its mark (a daemon that
    has left these); in a container all that descends from its first process. Whose a process is, is asked once: each
    look lists the processes of the machine, and reads of those that are new and of those that are members.
    """

    def __init__(self) -> None:
        self._mains: dict[str, int] = {}
        self._roots: dict[int, str] = {}
        self._marks: dict[bytes, str] = {}
        self._whose: dict[int, str] = {}

    def look(self, mains: Mapping[str, int]) -> dict[str, list[Stat]]:
        """By service what the kernel tells of its processes, the main one first; ``mains`` are their pids.

        A service whose main process has ended, or cannot be seen from here, has none.
        """
        if mains != self._mains:
            self._begin(mains)
        with os.scandir("/proc") as entries:
            pids = {int(entry.name) for entry in entries if entry.name.isdigit()}
        whose = {pid: name for pid, name in self._whose.items() if pid in pids}
        new = {pid: stat for pid in pids - whose.keys() if (stat := stat_of(pid)) is not None}
        whose.update((pid, self._found(stat)) for pid, stat in new.items())
        orphans = {pid for pid in new if not whose[pid]}
        while heirs := {pid for pid in orphans if whose.get(new[pid].parent)}:
            whose.update((pid, whose[new[pid].parent]) for pid in heirs)
            orphans -= heirs
        self._whose = whose
        found: dict[str, list[Stat]] = {}
        for name, main in mains.items():
            others = sorted(pid for pid, service in whose.items() if service == name and pid not in self._roots)
            stats = [stat for pid in (main, *others) if (stat := stat_of(pid)) is not None and stat.alive]
            found[name] = stats if stats and stats[0].pid == main else []
        return found

    def _begin(self, mains: Mapping[str, int]) -> None:
        """Other services than before. Who was seen before they were named may be theirs, and is asked anew."""
        self._mains, self._roots, self._marks, self._whose = dict(mains), {}, {}, {}
        for name, main in mains.items():
            self._roots |= {main: name, _first(main): name}
            self._marks |= {entry: name for entry in environment(main) if entry.startswith(f"{MARK}=".encode())}

    def _found(self, stat: Stat) -> str:
        """The service that a process belongs to by itself, whoever its parent is."""
        if own := self._roots.get(stat.pid) or self._roots.get(stat.group):
            return own
        return next((self._marks[entry] for entry in environment(stat.pid) if entry in self._marks), "")


def _first(main: int) -> int:
    """The first process of the container whose program ``main`` is: the init process, to which what loses its parent is
    given. ``main`` itself, where there is none."""
    stat = stat_of(main)
    try:
        inside = stat is not None and stat.parent > 1 and inner_pid(main) != main and inner_pid(stat.parent) == 1
    except (FileNotFoundError, ProcessLookupError):
        return main
    return stat.parent if stat is not None and inside else main
