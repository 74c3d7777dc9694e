"""One life of a container: its output, its death, signals."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import deque
from typing import Any

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, TimeoutExpired
from chaoskit.services.docker import undo
from chaoskit.services.docker.container import Container
from chaoskit.services.docker.daemon import ANSWER, ConflictError, MissingError, ask, asking, client, close
from chaoskit.services.runtime import OnExit
from chaoskit.system.journal import Journal
from chaoskit.system.pids import identify, inner_pid
from chaoskit.system.processes import LineSplitter, OnLine

LOST = -signal.SIGKILL
"""Exit status where the daemon can no longer tell it: its containers end with it."""


class RunningContainer:
    """Starts ``container`` and follows it to its end. It is a :class:`~chaoskit.services.runtime.Running`.

    Raises BrokenError when it cannot be started.
    """

    def __init__(
        self, container: Container, name: str, journal: Journal, on_line: OnLine, on_exit: OnExit | None
    ) -> None:
        self.name = name
        self.container = container
        self.last_lines: deque[str] = deque(maxlen=50)
        self._journal = journal
        self._pause_entry: int | None = None
        self.capture_error: Exception | None = None
        self._on_line = on_line
        self._on_exit = on_exit
        self._status: int | None = None
        self._ended = threading.Event()
        # Attached before it starts, so that its first line is not missed.
        self._output = self._ask("follow", lambda api: api.attach(container.id, stream=True, demux=True))
        try:
            self._ask("start", lambda api: api.start(container.id))
            self.pid = container.pid or 0
            self._main = identify(self.pid) if self.pid else None
        except BrokenError:
            close(self._output)
            raise
        self._thread = threading.Thread(target=self._watch, name=f"chaoskit-watch-{name}", daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._status if self._ended.is_set() else None

    def wait(self, limit: float) -> int:
        """The exit status, once ended and all output was handed out. TimeoutExpired after ``limit`` seconds."""
        if not self._ended.wait(limit):
            raise TimeoutExpired(f"waited {limit:g} s for the container {self.container.name} to end")
        assert self._status is not None
        return self._status

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal to the main process, SIGKILL to the whole container. False when it is gone."""
        if self._ended.is_set():
            return False
        try:
            if number == signal.SIGKILL:
                self._ask("kill", lambda api: api.kill(self.container.id, signal="SIGKILL"))
                return True
            return self._signal(number)
        except (ConflictError, MissingError):  # it does not run any more
            return False

    def _signal(self, number: int) -> bool:
        """Not by way of Docker, whose init process passes on SIGTERM and the like, but no SIGABRT or SIGSEGV."""
        if self._main is None:
            return False
        try:
            return self._main.signal(number)
        except PermissionError:
            inside = inner_pid(self._main.pid)
            status, output = self.container.exec(["sh", "-c", f"kill -{number} {inside}"], user="0")
            if status != 0:
                raise BrokenError(f"{self.name}: kill -{number} {inside}: {output.strip()}") from None
            return True

    @property
    def paused(self) -> bool:
        """True between :meth:`pause` and :meth:`resume`."""
        return self._pause_entry is not None

    def pause(self) -> bool:
        """Freeze all its processes, journaled. False when it is gone."""
        if self._ended.is_set():
            return False
        if self._pause_entry is None:
            entry = self._journal.add("pause", name=self.container.name, id=self.container.id, host=undo.where())
            try:
                self._ask("pause", lambda api: api.pause(self.container.id))
            except (ConflictError, MissingError):
                self._journal.done(entry)
                return False
            self._pause_entry = entry
        self._journal.prolong(self._pause_entry)
        return True

    def resume(self) -> bool:
        """Let it go on. False when it is gone."""
        if self._pause_entry is not None:
            self._journal.undo(self._pause_entry)
            self._pause_entry = None
        return not self._ended.is_set()

    def terminate(self, grace: float = 5.0, number: int = signal.SIGTERM) -> int:
        """End it, paused or not: the signal ``number``, SIGKILL after ``grace`` seconds. Gives the status."""
        if self.kill(number):
            self.resume()
            if not self._ended.wait(grace):
                self.kill(signal.SIGKILL)
        status = self.wait(ANSWER)
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)
        return status

    def _watch(self) -> None:
        """Hand out lines until it has ended. Runs on a thread of its own."""
        splitters = {"stdout": LineSplitter(), "stderr": LineSplitter()}
        with contextlib.suppress(BrokenError, OSError), asking(f"follow {self.name}"):
            for stdout, stderr in self._output:
                self._hand_out("stdout", splitters["stdout"].feed(stdout or b""))
                self._hand_out("stderr", splitters["stderr"].feed(stderr or b""))
        close(self._output)
        for stream, splitter in splitters.items():
            self._hand_out(stream, splitter.flush())
        self._status = self._exit_status()
        self._ended.set()
        if self._on_exit is not None:
            self._on_exit(self)

    def _exit_status(self) -> int:
        """Waits for the end: a program may close its output long before."""
        while True:
            try:
                code = int(self._ask("wait for", lambda api: api.wait(self.container.id, timeout=3600)["StatusCode"]))
            except MissingError:
                return LOST
            except BrokenError:
                try:
                    if self.container.inspect()["State"]["Running"]:
                        continue
                except BrokenError:
                    return LOST
            else:
                return 128 - code if 128 < code < 128 + signal.NSIG else code

    def _hand_out(self, stream: str, lines: list[str]) -> None:
        moment = now()
        for line in lines:
            self.last_lines.append(line)
            if self.capture_error is None:
                try:
                    self._on_line(stream, line, moment)
                except Exception as error:
                    self.capture_error = error  # keep reading

    def _ask(self, what: str, call: Any) -> Any:
        return ask(f"{what} {self.container.name}", lambda: call(client().api))
