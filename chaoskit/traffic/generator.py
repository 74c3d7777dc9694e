"""The engine's handle on the traffic worker."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, ChaosError, TimeoutExpired, unknown
from chaoskit.history.rows import Request, Row, Schedule
from chaoskit.system.priority import MEASURES, prioritise
from chaoskit.traffic.commands import Begin, Command, End, Line, Quit, StartStream, Stop
from chaoskit.traffic.spec import Operation, Stream

Spawn = Callable[[list[str]], "subprocess.Popen[bytes]"]
"""Starts the worker: standard input and output must be pipes."""

START_LIMIT = 30.0
BEGIN_LIMIT = 30.0
END_GRACE = 10.0
_TAIL = 20
_LAST_MOMENT = 2.0


def spawn_worker(argv: list[str]) -> subprocess.Popen[bytes]:
    """Start ``argv`` with three pipes, to go before others. A session of its own has a priority of its own."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    prioritise(process.pid, MEASURES)
    return process


class TrafficGenerator:
    """Starts one worker process and drives any number of sessions in it, one after the other.

    ``emit`` (may be set between sessions) is called from a thread of the generator's own, with every
    :class:`Request` row as requests end and the :class:`Schedule` row of every session. All methods raise
    BrokenError, with the worker's own words, when the worker died or reported an error (a template that
    fails, for example).
    """

    def __init__(self, emit: Callable[[Row], None], spawn: Spawn = spawn_worker) -> None:
        self.emit = emit
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._signals: set[str] = set()
        self._listening = False
        self._schedule: Schedule | None = None
        self._error: str | None = None
        self._gone = False
        self._words: list[str] = []
        self._operations: set[str] = set()
        self._longest = 0.0
        self._session = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, None before :meth:`start` and after :meth:`close`."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the worker; does nothing when it runs."""
        if self._process is not None:
            return
        self._gone, self._error, self._words = False, None, []
        self._signals.clear()
        process = self._process = self._spawn([sys.executable, "-m", "chaoskit.traffic.worker"])
        words = self._thread(self._read_words, process) if process.stderr is not None else None
        rows = self._thread(self._read_rows, process, words)
        self._threads = [rows] if words is None else [rows, words]
        self._wait("ready", START_LIMIT)

    def begin(
        self, seed: int, operations: Sequence[Operation], variables: Mapping[str, Any], hosts: Collection[str] = ()
    ) -> None:
        """Begin a session with fresh connections. What a former one has in flight is dropped without a row.

        Every operation is rendered once for trial, so a wrong template raises here. Requests go to loopback and to
        ``hosts``; one that would go elsewhere is not sent, and is an error.
        """
        self.start()
        with self._changed:
            self._listening = False
            self._error = None
            self._schedule = None
            self._signals -= {"begun", "ended"}
            self._session += 1
        self._operations = {operation.name for operation in operations}
        self._longest = max((operation.timeout for operation in operations), default=0.0)
        self._send(
            Begin(
                session=self._session,
                seed=seed,
                operations=list(operations),
                variables=dict(variables),
                hosts=sorted(hosts),
            )
        )
        self._wait("begun", BEGIN_LIMIT)

    def stream(self, stream: Stream) -> None:
        """Start a stream. Raises ChaosError for an operation that the session does not have."""
        if stream.op not in self._operations:
            raise ChaosError(unknown("operation", stream.op, self._operations))
        self._send(StartStream(stream=stream))

    def stop(self, stream_id: str) -> None:
        """Stop a stream: nothing further of it is sent; requests in flight go on."""
        self._send(Stop(id=stream_id))

    def end(self, drain: float | None = None) -> Schedule:
        """End the session: send nothing more, wait for the answers, at most ``drain`` seconds.

        ``drain`` None waits as long as the longest timeout of the operations. When this returns, all rows have
        been emitted; the schedule's row is emitted, too, and returned.
        """
        limit = self._longest if drain is None else drain
        self._send(End(drain=limit))
        self._wait("ended", limit + END_GRACE)
        assert self._schedule is not None
        return self._schedule

    def close(self) -> None:
        """End the worker; may be called at any time and more than once. Never raises for a dead worker."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        self._listening = False
        with suppress(OSError):  # it is dead already, which is what is wanted
            process.stdin.write(msgspec.json.encode(Quit()) + b"\n")
        with suppress(OSError):  # what it could not be told is still in the buffer
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> TrafficGenerator:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _thread(self, target: Callable[..., None], *given: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=given, name="chaoskit-traffic", daemon=True)
        thread.start()
        return thread

    def _send(self, command: Command) -> None:
        self.check()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")
            self._process.stdin.flush()
        except OSError:
            with self._changed:
                self._changed.wait_for(lambda: self._gone, timeout=5)
            raise BrokenError(self._death()) from None

    def alive(self) -> bool:
        """True while the worker runs."""
        return self._process is not None and not self._gone

    def abandon(self) -> None:
        """Emit nothing more of the current session; the next :meth:`begin` ends it."""
        self._listening = False

    def check(self) -> None:
        """Raises BrokenError when the worker died or reported an error."""
        if self._process is None:
            raise BrokenError("the traffic generator is not running")
        with self._changed:
            if self._error is not None:
                raise BrokenError(f"traffic: {self._error}")
            if self._gone:
                raise BrokenError(self._death())

    def _wait(self, signal: str, limit: float) -> None:
        deadline = now() + limit
        with self._changed:
            while signal not in self._signals:
                self.check()
                if not self._changed.wait(deadline - now()) and now() >= deadline:
                    raise TimeoutExpired(f"waited {limit:g} s for the traffic worker to report {signal!r}")
        self.check()

    def _death(self) -> str:
        process = self._process
        code = process.poll() if process is not None else None
        words = "; its last words: " + "\n".join(self._words[-_TAIL:]) if self._words else ""
        return f"the traffic worker has died (exit status {code}){words}"

    def _read_words(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._words = [*self._words[-_TAIL:], line.decode("utf-8", "replace").rstrip()]

    def _read_rows(self, process: subprocess.Popen[bytes], words: threading.Thread | None) -> None:
        assert process.stdout is not None
        lines = msgspec.json.Decoder(Line)
        requests = msgspec.json.Decoder(Request)
        try:
            for text in process.stdout:
                line = lines.decode(text)
                if line.kind == "requests":
                    if self._listening:
                        self.emit(requests.decode(line.row))
                elif line.kind == "schedules":
                    schedule = msgspec.json.decode(line.row, type=Schedule)
                    if self._listening:
                        self._schedule = schedule
                        self.emit(schedule)
                else:
                    self._take(line)
            # The death is told with its exit status and last words, which may come a moment after the last row.
            if words is not None:
                words.join(_LAST_MOMENT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_MOMENT)
        # Whatever ``emit`` raises: the history is incomplete, and the next call must say so.
        except Exception as error:
            self._error = f"a row could not be recorded: {error!r}"
        finally:
            with self._changed:
                self._gone = True
                self._changed.notify_all()

    def _take(self, line: Line) -> None:
        with self._changed:
            if line.error is not None and line.session == self._session:
                self._error = self._error or line.error
            for name in ("ready", "begun", "ended"):
                if getattr(line, name):
                    self._signals.add(name)
            if line.begun:
                self._listening = True
                self._signals.discard("ended")  # of the session before, if nobody waited for it
            self._changed.notify_all()
