"""One toxic at work on one direction of one connection."""

from __future__ import annotations

from collections import deque
from math import inf
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.installed import Installed
from chaoskit.toxiproxy.server.reactor import Timer
from chaoskit.toxiproxy.server.toxics.base import Steps

if TYPE_CHECKING:
    from chaoskit.toxiproxy.server.flow import Flow


class Stage:
    """Drives a toxic's generator: gives it chunks, wakes it when its time has come, passes on what it emits.

    Whether the toxic acts at all is rolled once, when the stage starts (``toxicity``); a stage that is spared
    passes everything on.
    """

    __slots__ = (
        "_busy",
        "_end_given",
        "_inbox",
        "_random",
        "_steps",
        "_timer",
        "_touched",
        "_wants_chunk",
        "active",
        "closed",
        "ended",
        "flow",
        "installed",
        "memory",
        "next",
    )

    def __init__(self, flow: Flow, installed: Installed) -> None:
        self.flow = flow
        self.installed = installed
        self.next: Stage | None = None
        self.memory = 0
        self.ended = False
        """No more chunks will come."""
        self.closed = False
        """No more chunks will be passed on."""
        self._inbox: deque[Chunk] = deque()
        self._random: Random | None = None
        self._timer: Timer | None = None
        self._touched = False
        self._busy = False
        self._start()

    @property
    def random(self) -> Random:
        """See :class:`~chaoskit.toxiproxy.server.toxics.base.Stub`."""
        if self._random is None:
            self._random = self.installed.random(self.flow.link.number)
        return self._random

    @property
    def idle(self) -> bool:
        """Nothing waits here."""
        return not self._inbox and not self.ended

    def accepts(self) -> bool:
        """There is room for another chunk."""
        return not self.closed and len(self._inbox) < self.installed.toxic.BUFFER

    def push(self, chunk: Chunk) -> None:
        """A chunk from the stage before, or from the socket."""
        if not self.ended and not self.closed:
            self._inbox.append(chunk)
            self.advance()

    def push_end(self) -> None:
        """The end of the stream, from the stage before or from the socket."""
        self.ended = True
        self.advance()

    def emit(self, chunk: Chunk) -> None:
        """Pass on to the next stage, or to the socket. What the toxic lets go of when all is over is lost."""
        if self.closed:
            return
        if self.next is not None:
            self.next.push(chunk)
        else:
            self.flow.write(chunk.data)

    def answer(self, data: bytes) -> bool:
        """Send an HTTP answer to the client; False while earlier requests wait for theirs."""
        return self.flow.link.answer(data)

    def reset(self) -> None:
        """End the connection with RST."""
        self.touch()
        self.installed.count.cut += 1
        self.flow.link.abort("toxic", reset=True)

    def advance(self) -> None:
        """Do what can be done now."""
        if self._busy:
            return  # called from below, out of emit(): the loop further up goes on by itself
        self._busy = True
        pulled = False
        while self._wants_chunk and not self.closed:
            if self._inbox:
                if not self.flow.accepts_after(self):
                    break
                pulled = True
                self._give(self._inbox.popleft())
            elif self.ended:
                self._give(None)
            else:
                break
        self._busy = False
        if pulled:
            self.flow.pulled(self)

    def roll_again(self) -> None:
        """The next stage came or went: the original rolls toxicity again then; so do we."""
        if self.installed.toxicity < 1 and self._roll() != self.active:
            self.restart(active=not self.active)

    def restart(self, active: bool | None = None) -> None:
        """Let go of what the toxic holds, and begin anew with its attributes as they are now."""
        if self.closed:
            return
        self._release()
        if not self.closed:
            self._start(active)
            self.advance()

    def cut(self) -> None:
        """End the stream here, on behalf of the toxic: what was passed on is delivered, then all is closed."""
        self.touch()
        self.installed.count.cut += 1
        self.flow.link.blame("toxic")
        self._finish()

    def empty(self) -> None:
        """Pass on everything that waits here, at once, before the stage is taken out."""
        if not self.closed:
            self._release()
            while self._inbox:
                self.emit(self._inbox.popleft())
            if self.ended and not self.closed:
                self._finish()

    def stop(self) -> None:
        """The connection is gone: drop everything."""
        self.closed = True
        self._inbox.clear()
        self._cancel_timer()
        if self._steps is not None and not self._busy:
            self._steps.close()

    def _roll(self) -> bool:
        if self.installed in self.flow.link.spared:
            return False
        return self.installed.toxicity >= 1 or self.random.random() < self.installed.toxicity

    def _start(self, active: bool | None = None) -> None:
        self.active = self._roll() if active is None else active
        self._end_given = False
        self._wants_chunk = True
        self._steps: Steps | None = None
        if self.active:
            self._steps = self.installed.toxic.run(self)
            self._busy = True
            self._resume(None)
            self._busy = False

    def _give(self, chunk: Chunk | None) -> None:
        if self._steps is None:
            if chunk is None:
                self._finish()
            else:
                self.emit(chunk)
            return
        if chunk is None:
            self._end_given = True
        else:
            if not self.installed.toxic.SELECTIVE:
                self.touch()
            count = self.installed.count
            count.chunks += 1
            count.bytes += len(chunk.data)
        self._resume(chunk)

    def _resume(self, chunk: Chunk | None) -> None:
        """Run the toxic to its next wait."""
        steps = self._steps
        assert steps is not None
        self._cancel_timer()
        while True:
            try:
                wait = steps.send(chunk)
            except StopIteration:
                if not self.closed:
                    if self._end_given:
                        self._finish()
                    else:
                        self.cut()
                return
            if self.closed:  # what it emitted ended the connection
                steps.close()
                return
            if wait.wants_chunk or wait.until > monotonic():
                break
            chunk = None
        self._wants_chunk = wait.wants_chunk
        if self._end_given and not self.installed.toxic.SELECTIVE:
            self.touch()  # it delays the end
        if wait.until != inf:
            self._timer = self.flow.reactor.at(wait.until, self._due)

    def _due(self) -> None:
        self._timer = None
        self._busy = True
        self._resume(None)
        self._busy = False
        self.advance()

    def _release(self) -> None:
        """Close the generator; it emits what it holds."""
        self._cancel_timer()
        if self._steps is not None:
            self._busy = True
            self._steps.close()
            self._busy = False
            self._steps = None

    def _finish(self) -> None:
        self.closed = True
        self._inbox.clear()
        self._cancel_timer()
        if self.next is not None:
            self.next.push_end()
        else:
            self.flow.end()

    def touch(self) -> None:
        """Note that the toxic has acted on this connection."""
        if not self._touched:
            self._touched = True
            self.installed.count.connections += 1

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self.flow.reactor.cancel(self._timer)
            self._timer = None
