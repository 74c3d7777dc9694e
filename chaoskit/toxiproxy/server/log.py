"""Toxiproxy's log: one JSON object a line on stdout, levels by the environment variable LOG_LEVEL."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from json import JSONEncoder

_LEVELS = {"trace": -1, "debug": 0, "info": 1, "warn": 2, "error": 3, "fatal": 4, "panic": 5, "disabled": 9}

_encode = JSONEncoder(separators=(",", ":")).encode


class Log:
    """Collects lines and writes them a moment later, in one piece (a write per line costs more than the line).

    A reader that does not read must not stop the proxy: a pipe is written without blocking, and what does not
    fit is dropped.
    """

    def __init__(self, fd: int = 1, level: str | None = None) -> None:
        self._fd = fd
        wanted = level or os.environ.get("LOG_LEVEL") or "info"
        self._threshold = _LEVELS.get(wanted.lower(), _LEVELS["info"])
        self._lines: list[str] = []
        self._rest = b""  # of a line that was written in part
        self.on_first_line: Callable[[], None] = lambda: None
        """Called when there is something to write again: to call :meth:`flush` soon."""
        self._second = 0
        self._time = ""
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.set_blocking(fd, False)
        if wanted.lower() not in _LEVELS:
            self.error(f'unknown LOG_LEVEL value: "{wanted}"')

    def info(self, message: str, **fields: object) -> None:
        """What happens in normal work."""
        self._add("info", message, fields)

    def warn(self, message: str, **fields: object) -> None:
        """What may need attention."""
        self._add("warn", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """What failed."""
        self._add("error", message, fields)

    def debug(self, message: str, **fields: object) -> None:
        """Each API call."""
        self._add("debug", message, fields)

    def _add(self, level: str, message: str, fields: dict[str, object]) -> None:
        if _LEVELS[level] >= self._threshold:
            second = int(time.time())
            if second != self._second:
                self._second = second
                self._time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            # Value by value: a text alone is encoded at once, a dict takes 6 µs to begin with.
            shown = "".join([f'"{name}":{_encode(value)},' for name, value in fields.items()])
            self._lines.append(f'{{"level":"{level}",{shown}"time":"{self._time}","message":{_encode(message)}}}')
            if len(self._lines) == 1:
                self.on_first_line()

    def flush(self) -> None:
        """Write what was collected."""
        if not self._lines:
            return
        data = self._rest + ("\n".join(self._lines) + "\n").encode()
        at_start = not self._rest
        self._lines.clear()
        self._rest = b""
        try:
            while data:
                size = os.write(self._fd, data)
                at_start = data[size - 1 : size] == b"\n"
                data = data[size:]
        except BlockingIOError:
            if not at_start:
                self._rest = data[: data.index(b"\n") + 1]
        except OSError:
            return  # the reader is gone: the proxy goes on
