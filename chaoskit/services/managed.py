"""The life of a service, wherever it runs: start, readiness, signals, log lines, supervision."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.history.rows import ASKED, TAKEN, Log
from chaoskit.language.service import ServiceSpec
from chaoskit.services.base import Emit, Service
from chaoskit.services.readiness import await_ready, http_answers, tcp_open
from chaoskit.services.runtime import ContainerPlan, ProcessRuntime, Running, Runtime
from chaoskit.services.supervisor import Supervisor
from chaoskit.system.journal import Journal
from chaoskit.system.pids import describe_exit

if TYPE_CHECKING:
    from chaoskit.services.docker.container import Container

LEAVING = 2.0
"""Seconds that what is left of an earlier life may take to let go of the port."""


class ManagedService(Service):
    """Runs ``spec.command``, or ``spec.image``. Providers derive from it and say what to run instead.

    Its environment is HOST and PORT (what to listen on) and PYTHONUNBUFFERED, then ``spec.env``; a process has ours
    too. ``folder`` (made at the first start, removed by :meth:`stop`) is the service's own. ``runtime`` says where it
    runs; a process of this machine unless given.
    """

    def __init__(
        self,
        name: str,
        spec: ServiceSpec,
        *,
        folder: Path,
        journal: Journal,
        emit: Emit,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__(name, spec, folder=folder, journal=journal, emit=emit)
        self.runtime = runtime or ProcessRuntime(spec, journal)
        self.host, self.port, self.inside = self.runtime.host, self.runtime.port, self.runtime.inside
        self.fill: Callable[[str], str] = str
        """Fills in a template of its settings; the environment says how, where it may name the others' addresses."""
        self._process: Running | None = None
        self._folder_entry: int | None = None
        self._initialised = False
        self._line_seen = threading.Event()
        self._lock = threading.RLock()  # held while the process is exchanged; never taken by a watching thread
        self._supervisor = Supervisor(spec.restart, name, self._revive)
        self._last_exit: int | None = None

    # What providers change

    @property
    def stop_signal(self) -> int:
        """What ends it for good."""
        return signal.Signals[f"SIG{self.spec.stop.signal}"]

    @property
    def restart_signal(self) -> int:
        """What ends it for a restart."""
        return self.stop_signal

    def prepare(self) -> None:
        """Called before the first start as a process, when the folder is there and empty."""

    def words(self) -> list[str]:
        """The words of ``spec.command``."""
        command = self.spec.command
        return shlex.split(command) if isinstance(command, str) else list(command or [])

    def argv(self) -> list[str]:
        """The program to run as a process. ``python`` means the interpreter that runs chaoskit."""
        words = self.words()
        if not words:
            raise BrokenError(f"{self.name} has no command to run as a process; --chaos-runtime=docker runs its image")
        return [sys.executable, *words[1:]] if words[0] in ("python", "python3") else words

    def plan(self) -> ContainerPlan:
        """What to run as a container."""
        return ContainerPlan.of(self.name, self.spec, self.words())

    def environment(self) -> dict[str, str]:
        """Its environment variables; a process has ours too."""
        host, port = self.runtime.listen
        env = {"HOST": host, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        if self.runtime.failpoints_port is not None:
            env["GOFAIL_HTTP"] = self.runtime.failpoints_listen
            if self.runtime.contained:  # in a network of its own, loopback could not be reached
                env["CHAOSKIT_FAILPOINTS_ANY_ADDRESS"] = "1"
        for name, value in self.spec.env.items():
            env[name] = self.fill(str(value).lower() if isinstance(value, bool) else str(value))
        return env

    def check(self) -> str:
        """One readiness check: empty when ready, else what was seen.

        Where nothing is said, the health check of the image counts, else an open port.
        """
        ready = self.spec.ready
        if ready.http is None and ready.tcp is None and ready.log is None:
            health = self.runtime.health()
            if health is not None:
                return health
        if ready.log is not None and not self._line_seen.is_set():
            return f"no log line matches {ready.log!r}"
        if ready.http is not None:
            return http_answers(self.host, self.port, ready.http)
        if ready.tcp or ready.log is None:
            return tcp_open(self.host, self.port)
        return ""

    def initialise(self) -> None:
        """Called once the first start is ready."""

    # Life

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready. Raises BrokenError with its last log lines."""
        with self._lock:
            if self.alive():
                self._await_ready()
            else:
                self._make_folder()
                self._launch()
            self._supervisor.watch()
            if not self.alive():  # its death may have come before the supervisor looked
                raise BrokenError(f"{self.name} ended as soon as it was ready: {describe_exit(self.last_exit or 0)}")

    def stop(self) -> None:
        """End it and remove its data."""
        self._supervisor.rest()
        with self._lock:
            self._end(self.stop_signal)
            self.runtime.discard()
            if self._folder_entry is not None:
                self.journal.undo(self._folder_entry)
                self._folder_entry = None
            self._initialised = False

    def halt(self) -> None:
        """End it in an orderly way; its data stays for :meth:`start`. Its supervisor leaves it alone until then."""
        self._supervisor.rest()
        with self._lock:
            self._supervisor.rest()  # again: a start that was under way has woken it
            self._end(self.restart_signal)

    def restart(self) -> None:
        """End it in an orderly way and start it again with its data, at the same port."""
        with self._lock:
            self.halt()
            self.start()

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal as a fault; a supervisor (``restart:``) acts on a death as in production."""
        process, moment = self._process, now()
        if process is None or not process.kill(number):
            return False
        self.event("killed", pid=process.pid, at=moment, detail=signal.Signals(number).name)
        if number == signal.SIGKILL:
            process.wait(5.0)
        return True

    def pause(self) -> bool:
        """Stop it with SIGSTOP, with all its descendants."""
        process, moment = self._process, now()
        if process is None or not process.pause():
            return False
        self.event("paused", pid=process.pid, at=moment)
        return True

    def resume(self) -> bool:
        """Let it go on."""
        process = self._process
        paused = process is not None and process.paused
        if process is None or not process.resume():
            return False
        if paused:
            self.event("continued", pid=process.pid)
        return True

    def alive(self) -> bool:
        """True while the main process exists."""
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        """One readiness check."""
        return self.alive() and not self.check() and not self.runtime.another(self._process)

    def reset(self) -> None:
        """Send the requests of ``spec.reset`` directly to it. Raises BrokenError unless all answer 2xx."""
        self._supervisor.reset()
        for line in self.spec.reset:
            method, _, path = line.partition(" ")
            seen = http_answers(self.host, self.port, path.strip() or "/", method=method, limit=10.0)
            if seen:
                raise BrokenError(f"{self.name} could not be reset: {seen}")

    @property
    def resting(self) -> bool:
        """True while an end of it is meant."""
        return self._supervisor.resting

    @property
    def pid(self) -> int | None:
        """The main process while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def last_exit(self) -> int | None:
        """Exit status of the latest death."""
        status = self._process.poll() if self._process is not None else None
        return self._last_exit if status is None else status

    @property
    def failpoints_url(self) -> str | None:
        """The gofail endpoint, with ``failpoints: true``."""
        port = self.runtime.failpoints_port
        return None if port is None else f"http://{self.host}:{port}"

    @property
    def container(self) -> Container | None:
        """Its container, once there is one."""
        return self.runtime.container

    def last_lines(self) -> list[str]:
        """The latest log lines of the current, or latest, process."""
        return list(self._process.last_lines) if self._process is not None else []

    # Inside

    def run_tool(self, what: str, argv: list[str], limit: float = 60.0) -> None:
        """Run a helper program as a process to its end. Raises BrokenError with its output if it fails."""
        assert isinstance(self.runtime, ProcessRuntime), "a container brings its own tools"
        tool = self.runtime.run(self, argv, self._line)
        try:
            status = tool.wait(limit)
        finally:
            tool.kill(signal.SIGKILL)
        if status != 0:
            lines = "\n  ".join(tool.last_lines)
            raise BrokenError(f"{self.name}: {what} failed: {describe_exit(status)}\n  {lines}")

    def _make_folder(self) -> None:
        if self._folder_entry is None:
            entry = self.journal.make_folder(self.folder)
            try:
                if not self.runtime.contained:
                    self.prepare()
            except BaseException:
                self.journal.undo(entry)
                raise
            self._folder_entry = entry

    def _launch(self) -> None:
        moment, what = now(), "restarted" if self._initialised else "started"
        self._refuse_another(None)
        self._line_seen.clear()
        self._process = self.runtime.launch(self, self._line, self._exited)
        self.event(what, pid=self._process.pid, at=moment)
        self._await_ready()
        if not self._initialised:
            self.initialise()
            self._initialised = True
        self.event("ready", pid=self._process.pid)

    def _await_ready(self) -> None:
        process = self._process
        assert process is not None
        await_ready(
            self.name,
            check=self.check,
            exit_status=process.poll,
            last_lines=self.last_lines,
            limit=self.spec.ready.within,
        )
        self._refuse_another(process)

    def _refuse_another(self, process: Running | None) -> None:
        """Raises BrokenError when somebody else answers at its address: what is judged must be what was started."""
        until = now() + (LEAVING if process is None else 0.0)
        while (holder := self.runtime.another(process)) and now() < until:
            time.sleep(0.05)
        if holder:
            self.event(TAKEN, detail=holder)
            raise BrokenError(f"{self.name} cannot be rehearsed: {holder}, which is no process of this service")

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.terminate(self.spec.stop.grace, number)

    def _line(self, stream: str, line: str, at: float) -> None:
        if self.spec.ready.log is not None and re.search(self.spec.ready.log, line):
            self._line_seen.set()
        self.emit(Log(service=self.name, at=at, line=line, stream=stream))

    def _exited(self, process: Running) -> None:
        self._last_exit = process.poll()
        asked = ASKED if self._supervisor.resting else ""
        self.event("exited", pid=process.pid, code=self._last_exit, detail=asked)
        if not self._supervisor.died(self._last_exit or 0):
            self.event("given up", detail="the supervisor has restarted it too often")

    def _revive(self) -> None:
        with self._lock:
            if self._supervisor.resting or self.alive():
                return
            try:
                self._launch()
            except ChaosError as error:
                self.event("not ready", detail=str(error))
