"""Resource limits of processes that run already, journaled and given back."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from chaoskit.errors import BrokenError
from chaoskit.pids import Pid
from chaoskit.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.journal import Journal


def _undo(facts: Facts) -> None:
    process = Pid(facts["pid"], facts["start"])
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, facts["resource"], (facts["soft"], facts["hard"]))


register_kind("rlimit", _undo)  # {pid, start, resource, soft, hard}: give it the limit it had


@contextlib.contextmanager
def lowered(journal: Journal, limits: Iterable[tuple[Pid, int]], which: int) -> Iterator[None]:
    """A lower soft limit for each process for the length of a block; the hard limit stays, so that it can be raised.

    Raises BrokenError where the process belongs to another user and we may not change it.
    """
    entries: list[int] = []
    try:
        for process, limit in limits:
            try:
                soft, hard = resource.prlimit(process.pid, which)
                facts: Facts = {"pid": process.pid, "start": process.start, "resource": which}
                entries.append(journal.add("rlimit", **facts, soft=soft, hard=hard))
                resource.prlimit(process.pid, which, (limit, hard))
            except ProcessLookupError:
                continue
            except PermissionError as error:
                hint = "it belongs to another user, and we have no CAP_SYS_RESOURCE"
                raise BrokenError(f"cannot change the limits of process {process.pid}: {hint}") from error
        yield
    finally:
        for entry in entries:
            journal.undo(entry)
