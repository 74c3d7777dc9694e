"""The traffic worker: ``python -m chaoskit.traffic.worker``.

Takes commands as JSON lines on standard input and writes rows as JSON lines on standard output (see
:mod:`chaoskit.traffic.commands`). It exits when standard input ends, so it never outlives the engine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from typing import Any

import msgspec

from chaoskit.base.blast_radius import BeyondError, BlastRadius, enforce
from chaoskit.base.errors import ChaosError
from chaoskit.history.rows import Request, Row
from chaoskit.traffic.commands import Begin, Command, End, Line, Quit, StartStream, Stop
from chaoskit.traffic.loop import precise_loop
from chaoskit.traffic.outbox import Outbox
from chaoskit.traffic.session import Session

_READ = 1 << 16


class Worker:
    """Executes commands; ``fd_in`` and ``fd_out`` are the two pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd_in: int, fd_out: int) -> None:
        self._loop = loop
        self._fd_in = fd_in
        self._outbox = Outbox(loop, fd_out)
        self._session: Session | None = None
        self._ending: asyncio.Task[None] | None = None
        self._number = 0
        self.radius = BlastRadius()
        self._rest = b""
        self._commands = msgspec.json.Decoder(Command)
        self._encode = msgspec.json.Encoder().encode
        os.set_blocking(fd_in, False)
        loop.add_reader(fd_in, self._read)
        loop.set_exception_handler(self._unexpected)
        self._say(Line(ready=True))

    def _read(self) -> None:
        try:
            data = os.read(self._fd_in, _READ)
        except BlockingIOError:
            return
        if not data:
            self._loop.stop()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.strip():
                continue
            try:
                self._execute(self._commands.decode(line))
            except (ChaosError, msgspec.MsgspecError) as error:
                self.fail(error)

    def _execute(self, command: Command) -> None:
        match command:
            case Begin():
                self._begin(command)
            case StartStream():
                self._running().stream(command.stream)
            case Stop():
                self._running().stop(command.id)
            case End():
                self._ending = self._loop.create_task(self._end(self._running(), command.drain))
            case Quit():
                self._loop.stop()

    def _running(self) -> Session:
        if self._session is None:
            raise ChaosError("no session has begun")
        return self._session

    def _begin(self, command: Begin) -> None:
        self._number = command.session
        if self._ending is not None:
            self._ending.cancel()
        if self._session is not None:
            self._session.close()
            self._session = None
        self.radius = BlastRadius(command.hosts)
        self._session = Session(
            self._loop,
            self._emit,
            self.fail,
            seed=command.seed,
            operations=command.operations,
            variables=command.variables,
            radius=self.radius,
        )
        # What a session keeps for good is no concern of the collector, so that its pauses stay short.
        gc.collect()
        gc.freeze()
        self._say(Line(begun=True))

    async def _end(self, session: Session, drain: float) -> None:
        schedule = await session.end(drain)
        if session is not self._session:  # another has begun, and the cancellation came too late to be noticed
            return
        self._emit(schedule)
        self._say(Line(ended=True))
        self._session = None

    def _emit(self, row: Row) -> None:
        kind = b"requests" if isinstance(row, Request) else b"schedules"
        self._outbox.put(b'{"kind":"' + kind + b'","row":' + self._encode(row) + b"}\n")

    def _say(self, line: Line) -> None:
        self._outbox.put(self._encode(line) + b"\n")
        self._outbox.flush()

    def fail(self, error: Exception) -> None:
        """Tell the engine that the session cannot be believed."""
        self._say(Line(error=str(error), session=self._number))

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of ours failed, so a row may be missing: the engine must know.

        What a task of a python operation leaves behind is only written to standard error.
        """
        loop.default_exception_handler(context)
        if "task" not in context and "future" not in context:
            self._say(Line(error=f"{context['message']}: {context.get('exception')!r}", session=self._number))


def _raise_file_limit() -> None:
    """Many connections in flight need as many files as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Run until standard input ends."""
    # What a python operation prints must not end up between the rows.
    rows = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _raise_file_limit()
    # Ctrl-C goes to all processes of a terminal; the engine decides when traffic ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Few and short collections: requests leave hardly any reference cycles.
    gc.set_threshold(50_000, 20, 100)
    loop = precise_loop()
    worker = Worker(loop, sys.stdin.fileno(), rows)

    # Python operations open connections of their own, from other threads too: the loop is where one may write.
    def refused(error: BeyondError) -> None:
        loop.call_soon_threadsafe(worker.fail, error)

    enforce(lambda: worker.radius, refused)
    loop.run_forever()
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to tidy that the kernel does not, and the engine waits for this process to be gone.
    os._exit(0)


if __name__ == "__main__":
    main()
