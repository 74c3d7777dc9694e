"""SIGTERM (a CI system cancels) and SIGHUP (the terminal is closed) end a run as Ctrl-C does, with all undone."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest


class Ended(KeyboardInterrupt):
    """A signal asked us to end. It passes through ``except Exception``, as Ctrl-C does."""


class EndingSignals:
    """Turns the two signals into :class:`Ended`, unless somebody else handles them; the status is 128 + the signal's.

    A second one is ignored: what was started is being ended.
    """

    def __init__(self) -> None:
        self._ours: list[signal.Signals] = []
        self._came: int | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Listen from now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)
                self._ours.append(number)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> object:
        """The others end what they started; then the status is set, and the signals mean what they meant."""
        try:
            return (yield)
        finally:
            for number in self._ours:
                signal.signal(number, signal.SIG_DFL)
            if self._came is not None:
                session.exitstatus = 128 + self._came

    def _end(self, number: int, _frame: FrameType | None) -> None:
        for each in self._ours:
            signal.signal(each, signal.SIG_IGN)
        self._came = number
        raise Ended(signal.Signals(number).name)
