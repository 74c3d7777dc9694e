"""Child processes that cannot be left behind, even when we are killed between fork and any line of ours.

The path of a pidfile is journaled first. Then a few lines of ``/bin/sh`` write their own pid and start time
into that file and ``exec`` the program, which keeps both. Whoever undoes the journal either finds the
pidfile, or takes its place, upon which the shell refuses to begin.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, TimeoutExpired
from chaoskit.system.journal import Journal
from chaoskit.system.pids import MARK, Pid, family, identify, signal_all, stragglers, wait_gone
from chaoskit.system.priority import MEASURED, prioritise
from chaoskit.system.undo import lease_end

OnLine = Callable[[str, str, float], None]
"""Called with the stream (``stdout`` or ``stderr``), the line without its end, and its monotonic time."""

LINE_LIMIT = 64 * 1024
"""Bytes of a line that are kept."""

CUT = " [cut]"
"""What a longer line ends with."""

# set -C makes `>` fail when the file exists. The shell's name holds no blanks: field 22 is the start time.
_WRAPPER = """
pidfile=$1; shift
start_time() { shift 21; echo "$1"; }
read -r stat < /proc/$$/stat && line="$$ $(start_time $stat)" || exit 125
set -C && echo "$line" > "$pidfile" || exit 125
exec "$@"
"""


class LineSplitter:
    """Cuts a stream of bytes into lines of text; undecodable bytes are replaced, long lines cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = []
        for line in whole:
            if not self._skipping:
                lines.append(_text(line))
            self._skipping = False
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > LINE_LIMIT:
            lines.append(_text(self._rest))
            self._rest, self._skipping = b"", True
        return lines

    def flush(self) -> list[str]:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    cut = CUT if len(line) > LINE_LIMIT else ""
    return line[:LINE_LIMIT].decode("utf-8", "replace").rstrip("\r") + cut


class ManagedProcess:
    """A running child, its process group, and its output. Made by :func:`start_process`.

    When the process ends by itself or otherwise, what is left of its group is killed, as in a container.
    """

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        name: str,
        journal: Journal,
        entry: int,
        on_line: OnLine,
        on_exit: Callable[[ManagedProcess], None] | None,
        pidfile: Path,
    ) -> None:
        self.name = name
        self.pid = child.pid
        self.last_lines: deque[str] = deque(maxlen=50)
        self.capture_error: Exception | None = None
        self._child = child
        self._journal = journal
        self._entry = entry
        self._pidfile = pidfile
        self._pause_entry: int | None = None
        self._on_line = on_line
        self._on_exit = on_exit
        self._lock = threading.RLock()  # held while a signal is sent: the child is not reaped meanwhile
        self._ended = threading.Event()
        identity = identify(child.pid)
        assert identity is not None, "a child that was not reaped has its entry in /proc"
        self._identity = identity
        journal.note(entry, pid=identity.pid, start=identity.start)
        self._thread = threading.Thread(target=self._watch, name=f"chaoskit-watch-{name}", daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._child.returncode if self._ended.is_set() else None

    def processes(self) -> list[Pid]:
        """Itself, its group, all its descendants, and what has left these and bears its mark: a daemon, say."""
        members = family(self._identity)
        return [*members, *(pid for pid in stragglers(self._pidfile) if pid not in members)]

    def wait(self, limit: float) -> int:
        """The exit status, once ended and all output was handed out. TimeoutExpired after ``limit`` s."""
        if not self._ended.wait(limit):
            raise TimeoutExpired(f"waited {limit:g} s for {self.name} (pid {self.pid}) to end")
        return self._child.returncode

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal to the process group, SIGKILL to all descendants too. False when it is gone."""
        with self._lock:
            if self._child.returncode is not None:
                return False
            others = family(self._identity) if number == signal.SIGKILL else []
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            signal_all(others, number)
            return True

    def pause(self) -> bool:
        """Stop the process and all its descendants (SIGSTOP), journaled. False when it is gone."""
        with self._lock:
            if self._child.returncode is not None:
                return False
            if self._pause_entry is None:
                self._pause_entry = self._journal.add(
                    "signal", name=self.name, pid=self.pid, start=self._identity.start
                )
            self._journal.prolong(self._pause_entry)
            stopped: set[Pid] = set()
            while more := set(family(self._identity)) - stopped:  # until none was forked meanwhile
                signal_all(more, signal.SIGSTOP)
                stopped |= more
            return True

    @property
    def paused(self) -> bool:
        """True between :meth:`pause` and :meth:`resume`."""
        return self._pause_entry is not None

    def resume(self) -> bool:
        """Let a paused process and its descendants go on. False when it is gone."""
        with self._lock:
            gone = self._child.returncode is not None
            if not gone:
                signal_all(reversed(family(self._identity)), signal.SIGCONT)
            self._no_longer_paused()
            return not gone

    def terminate(self, grace: float = 5.0, number: int = signal.SIGTERM) -> int:
        """End it, paused or not: ``number`` to the group, SIGKILL after ``grace`` s. Gives the status."""
        descendants = [pid for pid in family(self._identity) if pid != self._identity]
        if self.kill(number):
            self.resume()
            if not self._ended.wait(grace):
                self.kill(signal.SIGKILL)
        status = self.wait(10.0)
        signal_all(wait_gone(descendants, 0.5), signal.SIGKILL)
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)
        return status

    def _watch(self) -> None:
        """Hand out lines until the process has ended, then reap it. Runs on a thread of its own."""
        ended = os.pidfd_open(self.pid)
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        streams = {"stdout": self._child.stdout, "stderr": self._child.stderr}
        splitters = {name: LineSplitter() for name in streams}
        with selectors.DefaultSelector() as selector:
            for name, pipe in streams.items():
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, name)
            selector.register(ended, selectors.EVENT_READ, None)
            running = True
            while running:
                for key, _ in selector.select():
                    if key.data is None:
                        running = False
                    elif not self._read(key.data, streams[key.data], splitters[key.data]):
                        selector.unregister(key.fileobj)
        os.close(ended)
        # The leader is not reaped yet, so its number still means its own group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        # Then nobody looks for what has left the group any more: the entry of the journal is done.
        signal_all(stragglers(self._pidfile), signal.SIGKILL)
        for name, pipe in streams.items():
            while self._read(name, pipe, splitters[name]):
                pass
            self._hand_out(name, splitters[name].flush())
            pipe.close()
        try:
            with self._lock:  # somebody may be about to resume it
                self._child.wait()
                self._no_longer_paused()
            self._journal.done(self._entry)
        finally:
            self._ended.set()
        if self._on_exit is not None:
            self._on_exit(self)

    def _no_longer_paused(self) -> None:
        entry, self._pause_entry = self._pause_entry, None
        if entry is not None:
            self._journal.done(entry)

    def _read(self, name: str, pipe: IO[bytes], splitter: LineSplitter) -> bool:
        """Read once; False at the end of the stream, or when nothing is there."""
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return False
        self._hand_out(name, splitter.feed(data))
        return bool(data)

    def _hand_out(self, stream: str, lines: list[str]) -> None:
        moment = now()
        for line in lines:
            self.last_lines.append(line)
            if self.capture_error is None:
                try:
                    self._on_line(stream, line, moment)
                except Exception as error:
                    self.capture_error = error  # keep reading: a full pipe would stall the service


def start_process(
    argv: Sequence[str],
    *,
    name: str,
    journal: Journal,
    pidfile: Path,
    on_line: OnLine,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_exit: Callable[[ManagedProcess], None] | None = None,
    stop_signal: int = signal.SIGTERM,
    leased: bool = False,
    niceness: int = MEASURED,
) -> ManagedProcess:
    """Start a program in a session of its own, journaled before it exists.

    ``env`` is added to our environment, with CHAOSKIT_RUN_ID. ``on_line``, and ``on_exit`` once there is an exit
    status, are called on the process's watching thread. ``pidfile`` must not exist. ``stop_signal`` is what a
    sweep sends first. One that is ``leased`` is part of a fault, and ends with its lease. Its ``niceness`` is
    as given where this user may raise it. Raises BrokenError when the program cannot be started.
    """
    full = {**os.environ, **(env or {}), "CHAOSKIT_RUN_ID": journal.run_id, MARK: str(pidfile)}
    program = shutil.which(argv[0], path=full.get("PATH")) if "/" not in argv[0] else argv[0]
    if program is None:
        raise BrokenError(f"cannot start {name}: no program {argv[0]!r} on the PATH")
    if pidfile.exists():
        raise BrokenError(f"cannot start {name}: {pidfile} exists already")
    stop = signal.Signals(stop_signal).name
    until = lease_end() if leased else None
    entry = journal.add("process", until=until, name=name, pidfile=pidfile, signal=stop)
    try:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _WRAPPER, "sh", str(pidfile), program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=full,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        journal.done(entry)
        raise BrokenError(f"cannot start {name}: {error}") from error
    prioritise(child.pid, niceness)
    try:
        return ManagedProcess(child, name, journal, entry, on_line, on_exit, pidfile)
    except BaseException:  # nobody would follow it, nor close its pipes; its entry stays open, for what it has started
        child.kill()
        with child:
            raise
