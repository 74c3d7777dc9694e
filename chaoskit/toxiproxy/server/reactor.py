"""The event loop: epoll, timers exact to a fraction of a millisecond, and nothing else.

Callbacks run inside the poll step: no task, handle or future stands between a readable socket and the code
that moves its bytes. asyncio would cost twice the start-up time and, with ``epoll`` rounding waits up to whole
milliseconds, late timers.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANG_UP = select.EPOLLRDHUP
EDGE = select.EPOLLET
"""Beside these: call back once for what is new, and not again while it is left there."""

Callback = Callable[[int], None]
_DEFERRED_TURN = 0.002  # seconds for deferred calls before the others are looked at again
_LONGEST_WAIT = 3600.0  # seconds; epoll cannot wait for a toxic's largest delays in one go


class Timer:
    """A call that is due; to be given back to :meth:`Reactor.cancel`."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback


class Reactor:
    """Calls back when a file descriptor is ready or a moment has come. One thread, except for :meth:`post`."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """``failed`` is told of what a callback raised; the loop goes on, for the other connections."""
        self._failed = failed
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._cancelled = 0  # about how many of them are cancelled
        self._stopped = False
        self._deferred: deque[Callable[[], None]] = deque()
        self._posted: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, READ, self._woken)

    @property
    def wake_fd(self) -> int:
        """Writing a byte here ends the current wait (for ``signal.set_wakeup_fd``)."""
        return self._wake_write

    def watch(self, fd: int, events: int, callback: Callback) -> None:
        """Call ``callback(events)`` while ``fd`` is ready for one of ``events``, or has failed."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def call_with(self, fd: int, callback: Callback) -> None:
        """Exchange the callback of a watched ``fd``."""
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching. Must come before the descriptor is closed. Harmless when it is not watched."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def closing(self, fd: int) -> None:
        """Stop watching because ``fd`` is being closed: the kernel forgets it by itself then."""
        self._callbacks.pop(fd, None)

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call at ``when`` (monotonic seconds): never early, usually less than 0.2 ms late."""
        timer = Timer(callback)
        self._serial += 1
        heappush(self._timers, (when, self._serial, timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not call. Harmless when it was called already."""
        if timer.callback is not None:
            timer.callback = None
            self._cancelled += 1
            if self._cancelled > 1000 and self._cancelled > len(self._timers) // 2:
                # In place: run() holds on to the list.
                self._timers[:] = [entry for entry in self._timers if entry[2].callback is not None]
                heapify(self._timers)
                self._cancelled = 0

    def defer(self, callback: Callable[[], None]) -> None:
        """Call after all that is ready now: for a long step, so that short ones do not wait behind many of them."""
        self._deferred.append(callback)

    def post(self, callback: Callable[[], None]) -> None:
        """Call soon, on the loop's thread. The one method that other threads may use."""
        self._posted.append(callback)
        self._wake()

    def stop(self) -> None:
        """Make :meth:`run` return after the current step."""
        self._stopped = True
        self._wake()

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        callbacks = self._callbacks
        timers = self._timers
        deferred = self._deferred
        while not self._stopped:
            ready = self._poll()
            began = monotonic()
            for fd, events in ready:
                callback = callbacks.get(fd)  # an earlier callback of this step may have closed it
                if callback is not None:
                    try:
                        callback(events)
                    except Exception as error:
                        self._failed(error)
            if timers:
                self._run_timers()
            if deferred:
                self._run_deferred(began)

    def _poll(self) -> list[tuple[int, int]]:
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heappop(timers)
        if self._deferred:
            return self._epoll.poll(0, 256)
        if not timers:
            return self._epoll.poll(-1, 256)
        left = min(timers[0][0] - monotonic(), _LONGEST_WAIT)
        if left >= 0.001:
            # Whole milliseconds at most: epoll rounds up. The half keeps a product like 9.0000001 at 9.
            return self._epoll.poll((int(left * 1000) - 0.5) / 1000, 256)
        if left > 0:
            # epoll counts in milliseconds, select in microseconds, and select can watch an epoll.
            select.select((self._epoll,), (), (), left)
        return self._epoll.poll(0, 256)

    def _run_timers(self) -> None:
        timers = self._timers
        now = monotonic()
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                try:
                    callback()
                except Exception as error:
                    self._failed(error)

    def _run_deferred(self, began: float) -> None:
        """For a moment, or for as long as the others took since ``began``: these cannot starve them."""
        now = monotonic()
        until = now + max(_DEFERRED_TURN, now - began)
        deferred = self._deferred
        while deferred:
            try:
                deferred.popleft()()
            except Exception as error:
                self._failed(error)
            if monotonic() >= until:
                return

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            return  # full: it will wake anyhow

    def _woken(self, _events: int) -> None:
        os.read(self._wake_read, 4096)
        while self._posted:
            try:
                self._posted.popleft()()
            except Exception as error:  # those behind it have been told of by the same wake
                self._failed(error)
