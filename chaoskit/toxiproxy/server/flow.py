"""One direction of one connection: from the socket of one side to the socket of the other."""

from __future__ import annotations

from collections.abc import Callable
from errno import ECONNRESET, EPIPE
from time import monotonic
from typing import TYPE_CHECKING

from chaoskit.toxiproxy.server.chunk import Chunk
from chaoskit.toxiproxy.server.installed import Direction
from chaoskit.toxiproxy.server.reactor import READ

if TYPE_CHECKING:
    from chaoskit.toxiproxy.server.endpoint import Endpoint
    from chaoskit.toxiproxy.server.link import Link
    from chaoskit.toxiproxy.server.stage import Stage

# What one step moves at most. Each step wakes the sender and the receiver, which can take as long as copying
# hundreds of KiB: fewer, larger steps are faster, but what the target does not take has to be kept.
_STEP = 256 * 1024
# So steps get larger only after as many full ones in a row that the target took as a whole.
_FULL_STEPS = 4
_BULK_STEP = 1024 * 1024
# All flows read into one buffer: what is read is written (or copied) before anything else runs.
_BUFFER = bytearray(_BULK_STEP)
_VIEW = memoryview(_BUFFER)
# Through toxics, data goes in pieces of the original's size, so that they act on it in the same steps.
_CHUNK = 32 * 1024

Spy = Callable[[memoryview, float], None]
"""Is shown bytes and when they passed (monotonic seconds); must keep no reference to them."""


class Flow:
    """Moves bytes from ``source`` to ``target``.

    ``handler`` is what the reactor calls when the source is readable: the fast path as long as nothing wants
    to see or hold the data.
    """

    __slots__ = (
        "_backlog",
        "_deferred",
        "_full_steps",
        "_on_read",
        "_on_write",
        "_recv_into",
        "_send",
        "_slowly",
        "direction",
        "ending",
        "handler",
        "link",
        "over",
        "reactor",
        "read",
        "source",
        "stages",
        "target",
        "written",
    )

    def __init__(self, link: Link, direction: Direction, source: Endpoint, target: Endpoint) -> None:
        self.link = link
        self.reactor = link.proxy.reactor
        self.direction = direction
        self.source = source
        self.target = target
        self.read = 0
        self.written = 0
        self.over = False
        """The source has ended or the target is gone: nothing is read any more."""
        self.ending = False
        """The end of the stream has come through all stages."""
        self.stages: list[Stage] = []
        self._backlog: list[memoryview] = []  # what the target's socket would not take yet
        self._full_steps = 0  # in a row
        self._deferred = False
        self._recv_into = source.sock.recv_into
        self._send = target.sock.send
        self._on_read: Spy | None = None
        self._on_write: Spy | None = None
        self._slowly = False
        self.handler: Callable[[int], None] = self._fast

    def spy(self, on_read: Spy | None, on_write: Spy | None) -> None:
        """Show all bytes read, and all bytes written, to somebody."""
        self._on_read = on_read
        self._on_write = on_write
        self.refresh()

    # ---- the path

    def refresh(self) -> None:
        """Choose the path, after something has changed."""
        self._slowly = bool(self.stages) and any(stage.active or not stage.idle for stage in self.stages)
        if self._slowly:
            self.handler = self._slow
        elif self._on_read is not None or self._on_write is not None:
            self.handler = self._watched
        else:
            self.handler = self._fast
        if not self.source.closed:
            self.source.refresh(self._reads())

    # ---- reading

    def _fast(self, _events: int, limit: int = _STEP) -> None:
        if self._full_steps >= _FULL_STEPS and limit == _STEP:
            if not self._deferred:
                self._deferred = True
                self.reactor.defer(self._bulk)
            return
        try:
            size = self._recv_into(_BUFFER, limit)
        except BlockingIOError:
            return
        except OSError as error:
            self._source_failed(error)
            return
        if not size:
            self.source_ended()
            return
        self.read += size
        try:
            sent = self._send(_VIEW[:size])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._target_failed(error)
            return
        self.written += sent
        if sent != size:
            self._full_steps = 0
            self._hold(_VIEW[sent:size])
        else:
            self._full_steps = self._full_steps + 1 if size >= _STEP else 0

    def _bulk(self) -> None:
        """A large step, if the path is still free."""
        self._deferred = False
        if self.handler == self._fast and self._reads():
            self._fast(READ, _BULK_STEP)

    def _watched(self, _events: int) -> None:
        size = self._receive(_STEP)
        if size:
            self._write(_VIEW[:size])

    def _slow(self, _events: int) -> None:
        size = self._receive(_CHUNK)
        if size:
            self.stages[0].push(Chunk(bytes(_VIEW[:size]), monotonic()))
            self._gate()

    def _receive(self, limit: int) -> int:
        """Read into the shared buffer; 0 when there was nothing, or the stream has ended."""
        try:
            size = self._recv_into(_BUFFER, limit)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._source_failed(error)
            return 0
        if not size:
            self.source_ended()
            return 0
        self.read += size
        if self._on_read is not None:
            self._on_read(_VIEW[:size], monotonic())
        return size

    def _source_failed(self, error: OSError) -> None:
        self.link.warn("Source terminated", error, self.read)
        self.source_ended(reset=error.errno == ECONNRESET)

    def source_ended(self, reset: bool = False) -> None:
        """The source will send no more: FIN, RST (``reset``), or closed by us."""
        if self.over:
            return
        self.over = True
        self.link.blame(self.source.name, reset)
        if self.source is self.link.client:
            self.link.client_left()
        if self.stages:
            self.stages[0].push_end()
        else:
            self.end()
        self._gate()

    # ---- writing

    def accepts_after(self, stage: Stage) -> bool:
        """What comes after ``stage`` has room."""
        return not self._backlog if stage.next is None else stage.next.accepts()

    def pulled(self, stage: Stage) -> None:
        """``stage`` has room again: let those before it go on."""
        if stage is self.stages[0]:
            self._gate()
        else:
            for before in self.stages:
                if before.next is stage:
                    before.advance()

    def inject(self, data: bytes) -> None:
        """Send what the source has not sent, through all stages, as if it had."""
        if self.over:
            return
        if self.stages:
            self.stages[0].push(Chunk(data, monotonic()))
        else:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Send what has come through all stages."""
        if self.ending or self.target.closed:
            return
        if self._backlog:
            self._backlog.append(memoryview(data))
        else:
            self._write(memoryview(data))

    def _write(self, view: memoryview) -> None:
        sent = self._try_send(view)
        if 0 <= sent < len(view):
            self._hold(view[sent:])

    def _try_send(self, view: memoryview) -> int:
        """Bytes the socket took; -1 when the target is gone."""
        now = monotonic() if self._on_write is not None else 0.0
        try:
            sent = self._send(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._target_failed(error)
            return -1
        self.written += sent
        if self._on_write is not None:
            self._on_write(view[:sent], now)
        return sent

    def _hold(self, view: memoryview) -> None:
        """The socket is full: keep the rest, and read no more until it is gone."""
        self._backlog.append(memoryview(bytes(view)))
        self._gate()
        self.target.want_write(True)

    def drain(self) -> None:
        """The target's socket takes data again."""
        backlog = self._backlog
        while backlog:
            view = backlog[0]
            sent = self._try_send(view)
            if sent < 0:
                return
            if sent < len(view):
                backlog[0] = view[sent:]
                return
            del backlog[0]
        self.target.want_write(False)
        if self.ending:
            self.link.close_after(self.target)
        else:
            if self.stages:
                self.stages[-1].advance()
            self._gate()

    def end(self) -> None:
        """The end of the stream has come through: close the target when all is written."""
        self.ending = True
        if not self._backlog:
            self.link.close_after(self.target)

    def _target_failed(self, error: OSError) -> None:
        self.link.warn("Could not write to destination", error, self.written)
        self.link.blame(self.target.name, reset=error.errno in (ECONNRESET, EPIPE))
        self.target.close()

    def target_closed(self) -> None:
        """Nothing can be written any more: drop what waits."""
        self.over = True
        self._backlog.clear()
        for stage in self.stages:
            stage.stop()
        self._gate()

    def _gate(self) -> None:
        self.source.want_read(self._reads())

    def _reads(self) -> bool:
        """Read from the source only while there is room for what it sends."""
        if self.over:
            return False
        return self.stages[0].accepts() if self._slowly else not self._backlog
