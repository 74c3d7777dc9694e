"""The queue of SOPs: taken by priority, and written to a file of the scenario's folder before anything is done.

A run that was killed leaves its file with what was queued or running. That is never executed by a later run, whose
environment is another one; it is told, once (:func:`sweep_queues`).
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask_values
from chaoskit.base.plain_files import MOST_TEXT
from chaoskit.history.rows import Alert
from chaoskit.language.sop import PRIORITIES, PlannedSop
from chaoskit.system.sweep import is_owner, lives, number_in, opened, owner_line, read_lines

FILE = "sops.queue"
"""Its name in a scenario's folder: one JSON object a line, its owner first."""


@dataclass(frozen=True)
class Queued:
    """An SOP that is to be run for an incident. ``number`` counts from 1, ``at`` is monotonic seconds."""

    number: int
    sop: PlannedSop
    incident: str
    alert: Alert
    at: float


class Queue:
    """Safe to use from all threads. Raises BrokenError where its file cannot be written."""

    def __init__(self, file: Path) -> None:
        self._numbers = itertools.count(1)
        self._waiting: list[tuple[int, int, Queued]] = []
        self._change = threading.Condition()
        self._closed = False
        try:
            self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise BrokenError(f"cannot make the queue of SOPs {file}: {error}") from error
        self._write(owner_line())

    def put(self, sop: PlannedSop, incident: str, alert: Alert, at: float) -> Queued:
        """Queue an SOP: it is in the file when this returns."""
        with self._change:
            item = Queued(next(self._numbers), sop, incident, alert, at)
            self._write(
                {
                    "queued": item.number, "sop": sop.name, "incident": incident, "alert": alert.name,
                    "severity": alert.labels.get("severity", ""), "priority": sop.model.priority, "at": at,
                }
            )  # fmt: skip
            heapq.heappush(self._waiting, (PRIORITIES.index(sop.model.priority), item.number, item))
            self._change.notify()
            return item

    def take(self) -> Queued | None:
        """The one of highest priority, the oldest of these; waits for one. None once the queue is closed."""
        with self._change:
            self._change.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else heapq.heappop(self._waiting)[2]

    def note(self, item: Queued, what: str, **facts: Any) -> None:
        """Write down what became of an item: ``started``, ``failed`` (an attempt), ``ended``."""
        with self._change:
            self._write({what: item.number, **facts})

    def close(self) -> list[Queued]:
        """Give out no more, and what was never taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()
            left, self._waiting = [item for *_, item in sorted(self._waiting)], []
            return left

    def end(self) -> None:
        """Close the file: nothing of it is open any more."""
        with self._change:
            if self._file >= 0:
                self._write({"closed": True})
                os.close(self._file)
                self._file = -1

    def _write(self, line: dict[str, Any]) -> None:
        if self._file < 0:
            return
        try:
            os.write(self._file, json.dumps(mask_values(line), ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise BrokenError(f"cannot write the queue of SOPs: {error}") from error


def sweep_queues(runs: Path) -> list[str]:
    """What killed runs below ``runs`` left in their queues, in words; none of it is executed. Told once."""
    told: list[str] = []
    for file in sorted(runs.glob(f"*/*/{FILE}")):
        # Anybody may have put it there: nothing but words comes of it, and a line that is added to the file itself.
        if file.parent.resolve() != runs.resolve() / file.parent.relative_to(runs):
            continue  # by way of a link
        with contextlib.suppress(OSError), opened(file) as handle:
            told += _sweep_one(file, handle)
    return ["".join(char if char.isprintable() else " " for char in text) for text in told]


def _sweep_one(file: Path, handle: int) -> Iterator[str]:
    if os.fstat(handle).st_size > MOST_TEXT:
        return  # none of ours is as large
    fcntl.flock(handle, fcntl.LOCK_EX)  # two sweeps at once: the second finds nothing
    owner, items = _read(handle)
    try:
        if not items or owner is None or lives(owner):
            return
    except BrokenError:
        return  # of another machine: it tells there
    run = file.parent.parent.name
    for number, item in sorted(items.items()):
        os.write(handle, json.dumps({"swept": number}).encode() + b"\n")
        state = "was running" if item.get("begun") else "was queued"
        alert = " ".join(filter(None, (_word(item, "severity"), _word(item, "alert"))))
        told = f"SOP {_word(item, 'sop')} ({alert}) of run {run}: {state} when the run was killed"
        yield f"{told}; it is not executed again"


def _read(handle: int) -> tuple[dict[str, Any] | None, dict[int, dict[str, Any]]]:
    """The owner, and the items that did not come to their end. A line that is none of ours is no line."""
    owner: dict[str, Any] | None = None
    items: dict[int, dict[str, Any]] = {}
    for line in read_lines(handle):
        if owner is None:
            if not is_owner(line):
                return None, {}
            owner = line
            continue
        with contextlib.suppress(KeyError, TypeError):
            if "queued" in line:
                items[number_in(line, "queued")] = line
            elif "started" in line:
                items[number_in(line, "started")]["begun"] = True
            elif "closed" in line:
                items.clear()
            else:
                items.pop(number_in(line, "ended" if "ended" in line else "swept"), None)
    return owner, items


def _word(item: dict[str, Any], key: str) -> str:
    """A text of an item, as long as a name is; empty for anything else."""
    found = item.get(key)
    return found[:200] if isinstance(found, str) else ""
