"""The machine beneath a run: who takes its processors and its disk, and how late a timer wakes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from chaoskit.history import rows as r
from chaoskit.observers import _host_probe as probe
from chaoskit.observers.base import Emit, HasPid, Observer
from chaoskit.system.pids import own_mark
from chaoskit.system.priority import MEASURES, prioritise


class Host(Observer):
    """Emits a row :class:`~chaoskit.history.rows.Host` four times a second, seen by a process of its own.

    Ours are this process with its descendants, those of ``services`` (which may run in containers), and what bears
    ``run_id`` in its environment. Where there is no ``/proc`` nothing is seen.

    :data:`~chaoskit.system.pids.OURS` in our environment is the pid of a process that is ours too, with its descendants
    and what bears the same: what is run side by side on purpose is load of one's own.
    """

    def __init__(self, services: Sequence[HasPid], emit: Emit, run_id: str) -> None:
        super().__init__(emit, interval=1.0, name="host")
        self._services = services
        self._run_id = run_id
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._told: set[int] = set()

    def start(self) -> None:
        """Begin. Has no effect while it runs."""
        if self._process is not None or not Path("/proc/stat").exists():
            return
        self._told = set()
        marks = [f"{name}={value}" for name, value in {"CHAOSKIT_RUN_ID": self._run_id, **own_mark()}.items()]
        argv = [sys.executable, "-m", probe.__name__, str(os.getpid()), *own_mark().values(), *marks]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        prioritise(self._process.pid, MEASURES)  # what it felt, the worker and the proxies felt
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="chaoskit-host", daemon=True)
        self._reader.start()
        super().start()

    def stop(self) -> None:
        """End, with the probe. Has no effect when it does not run."""
        super().stop()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(timeout=5)

    def observe(self) -> None:
        """Tell the probe of services that have started since."""
        process = self._process
        pids = {pid for service in self._services if (pid := service.pid) is not None} - self._told
        if process is not None and pids:
            assert process.stdin is not None
            process.stdin.write(" ".join(map(str, pids)).encode() + b" ")
            process.stdin.flush()
            self._told |= pids

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        decode = msgspec.json.Decoder(r.Host).decode
        with process.stdout:
            for line in process.stdout:
                self.emit(decode(line))
