"""The guardian of a run: a small process that undoes what the run itself cannot undo any more.

It follows the run's journal. An entry whose lease has ended is undone although its owner does nothing (it hangs,
or was stopped); once the owner is dead, all that it left open is undone at once. It ends with the owner, or when
it is told to. It imports nothing but the ground floor until an entry needs more, so that it is up quickly. If it
is killed itself, the next run or ``chaoskit clean`` sweeps, as they would without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.system.pids import Pid
from chaoskit.system.sweep import Contents, decode, opened, read, sweep_one

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal
    from chaoskit.system.processes import ManagedProcess

LOOK = 0.2
"""Seconds between two looks at the journal: the most that a lease is overrun by."""

AGAIN = 1.0
"""Seconds until an undoing that failed is tried again."""

LOG = "guardian.log"
"""What it did, in the run's folder; there is none if it had nothing to do."""


def start_guardian(journal: Journal) -> ManagedProcess:
    """Start the guardian of this process's journal. Raises BrokenError when it cannot be started."""
    from chaoskit.system.processes import start_process

    pidfile = journal.root / "guardian.pid"
    journal.add("file", path=pidfile)
    command = [sys.executable, "-m", "chaoskit.system.guardian", str(journal.path)]
    return start_process(command, name="guardian", journal=journal, pidfile=pidfile, on_line=lambda *_: None)


class Guardian:
    """Follows one journal, which is open as ``handle``. Raises ValueError when it has no owner."""

    def __init__(self, path: Path, handle: int) -> None:
        owner = read(handle).owner
        if not owner:
            raise ValueError(f"{path} is no journal")
        self.owner = Pid(owner["pid"], owner["start"])
        self._path = path
        self._root = Path(owner.get("root") or path.parent)
        self._handle = handle
        self._place = 0
        self._rest = b""
        self._contents = Contents()
        self._failed: dict[int, tuple[float, str]] = {}

    def run(self) -> None:
        """Watch until the owner is dead, then sweep."""
        with contextlib.suppress(ProcessLookupError):
            ended = os.pidfd_open(self.owner.pid)
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            while self.owner.alive() and not poll.poll(LOOK * 1000):
                self._read()
                self._lift()
        # From here on nobody else does it before the next run: a signal must not end this half-way.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for text in sweep_one(self._path, self._handle):
            self._log(text)

    def _read(self) -> None:
        data = os.pread(self._handle, 1 << 20, self._place)
        self._place += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, map(decode, lines)):
            self._contents.take(line)

    def _lift(self) -> None:
        """Undo what has outlived its lease."""
        moment = time.monotonic()
        entries = self._contents.entries
        for number, entry in sorted(entries.items(), reverse=True):
            again, before = self._failed.get(number, (0.0, ""))
            if entry.until is None or moment < max(entry.until, again):
                continue
            try:
                entry.undo()
            except Exception as error:  # whatever it is: the next entry has its own
                self._failed[number] = time.monotonic() + AGAIN, str(error)
                if str(error) != before:
                    self._log(f"{entry}: its lease has ended, and it could not be undone: {error}")
            else:
                os.write(self._handle, json.dumps({"done": number}).encode() + b"\n")
                del entries[number]
                self._log(f"{entry}: its lease has ended")

    def _log(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with contextlib.suppress(OSError), os.fdopen(os.open(self._root / LOG, flags, 0o644), "a") as file:
            file.write(line)


def main(path: Path) -> None:
    """Guard the owner of the journal at ``path``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(opened(path))
        except FileNotFoundError:
            return  # the run is over
        Guardian(path, handle).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
