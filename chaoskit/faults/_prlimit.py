"""Resource limits of processes that run already, journaled and given back."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from chaoskit.base.errors import BrokenError
from chaoskit.system.layers import Layer, State, layer
from chaoskit.system.pids import Pid
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal


def _undo(facts: Facts) -> None:
    process = Pid(facts["pid"], facts["start"])
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, facts["resource"], (facts["soft"], facts["hard"]))


register_kind("rlimit", _undo)  # {pid, start, resource, soft, hard}: give it the limit it had


class Limit(State):
    """A soft limit of one process: the lowest that faults ask for, and never more than it had.

    The hard limit stays, so that it can be raised again. Raises BrokenError where the process belongs to another user
    and we may not change it.
    """

    def __init__(self, journal: Journal, process: Pid, which: int) -> None:
        super().__init__(journal)
        self._process = process
        self._which = which
        self._soft = self._hard = 0

    def begin(self) -> None:
        with self._allowed():
            self._soft, self._hard = resource.prlimit(self._process.pid, self._which)
            facts: Facts = {"pid": self._process.pid, "start": self._process.start, "resource": self._which}
            self.note("rlimit", **facts, soft=self._soft, hard=self._hard)

    def set(self, asked: Sequence[int]) -> None:
        if not self._process.alive():  # its number may be another's
            return
        own = [] if self._soft == resource.RLIM_INFINITY else [self._soft]
        with self._allowed():
            resource.prlimit(self._process.pid, self._which, (min([*asked, *own]), self._hard))

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[None]:
        try:
            yield
        except ProcessLookupError:
            pass
        except PermissionError as error:
            hint = "it belongs to another user, and we have no CAP_SYS_RESOURCE"
            raise BrokenError(f"cannot change the limits of process {self._process.pid}: {hint}") from error


def lowered(journal: Journal, process: Pid, which: int, limit: int) -> AbstractContextManager[Layer[Limit]]:
    """A lower soft limit of a process for the length of a block."""
    return layer(journal, ("rlimit", process, which), limit, lambda: Limit(journal, process, which))
