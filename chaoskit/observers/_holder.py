"""The process of a service that answers, where the one that was started only starts others."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import ASKED, Event
from chaoskit.observers.base import Emit, Watched
from chaoskit.system.pids import Pid, Stat
from chaoskit.system.sockets import LISTENING, readable, tcp_sockets

EVERY = 1.0
"""Seconds between two searches for who listens, as long as nobody does."""
ALONE = 1.0
"""Seconds that the main process may live on without the one that answered, and be the same end."""


class Holder:
    """Follows who holds a service's listening socket, while one main process of it lives.

    Of several that hold it, it is the one that all of them descend from: workers may come and go. When that one ends
    and the main process does not (a shell that starts it again, say) this is an end of the service all the same:
    ``exited``, without a status, as that is told to nobody but the parent. Once there is another, it is ``ready``.
    """

    def __init__(self, service: Watched, main: Pid, emit: Emit) -> None:
        self.main = main
        self._service = service
        self._emit = emit
        self._process: Pid | None = None
        self._another: Pid | None = None
        self._searched = -inf
        self._lost: float | None = None
        self._told = False

    def look(self, stats: Sequence[Stat]) -> int | None:
        """The pid by which to know whether it is still the same: the main one's, until another process takes the place
        of the one that answered; None while nobody has. ``stats`` are the service's living processes."""
        if self._process is None:
            if now() - self._searched >= EVERY:
                self._searched, self._process = now(), self._search(stats)
            return self.main.pid
        if not any(stat.identity == self._process for stat in stats):
            self._lost = now() if self._lost is None else self._lost
            another = self._search(stats)
            if another is None and now() - self._lost < ALONE:
                return None
            if not self._told:
                self._told = True
                detail = ASKED if self._service.resting else ""
                self._event("exited", self._process, self._lost, detail)
            if another is None:
                return None
            self._event("ready", another, now())
            self._process = self._another = another
            self._lost, self._told = None, False
        return (self._another or self.main).pid

    def _event(self, what: str, process: Pid, at: float, detail: str = "") -> None:
        self._emit(Event(service=self._service.name, at=at, what=what, pid=process.pid, detail=detail))

    def _search(self, stats: Sequence[Stat]) -> Pid | None:
        """Who holds the socket that listens at the service's port; None where nobody does, as far as can be seen."""
        port = self._service.inside[1]
        try:
            sockets = {tcp.inode for tcp in tcp_sockets(self.main.pid, LISTENING) if tcp.local_port == port}
        except BrokenError:
            return None
        holders = [stat for stat in stats if sockets and not sockets.isdisjoint(readable(stat.pid))]
        if not holders:
            return None
        by_pid = {stat.pid: stat for stat in stats}
        lines = [_line(stat, by_pid) for stat in holders]
        common = (stat for stat in lines[0] if all(stat in line for line in lines))
        return next(common, min(holders, key=lambda stat: stat.start)).identity


def _line(stat: Stat, by_pid: dict[int, Stat]) -> list[Stat]:
    """A process and those that it descends from, of its service."""
    line = [stat]
    while (parent := by_pid.get(line[-1].parent)) is not None and parent not in line:
        line.append(parent)
    return line
