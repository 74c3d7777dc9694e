"""What the services wrote: from each so many lines, those that tell of trouble first."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from chaoskit.base.mask import mask
from chaoskit.history.rows import Log
from chaoskit.report.html.clean import clean, clip
from chaoskit.report.html.rows import rows

MOST = 60
"""Lines of a service that are kept."""

WIDTH = 400
_WORDS = (
    "error", "critical", "fatal", "panic", "exception", "traceback", "warn", "refused", "timed out", "timeout",
)  # fmt: skip
_TROUBLE = re.compile(rf"\b(?:{'|'.join(_WORDS)})")


class ServiceLog:
    """What one service wrote: ``total`` lines, of which some are kept. ``zero`` is the moment that times count from."""

    def __init__(self, service: str, zero: float) -> None:
        self.service = service
        self.total = 0
        self._zero = zero
        self._trouble: list[tuple[int, Log]] = []
        self._last: deque[tuple[int, Log]] = deque(maxlen=MOST)

    def add(self, log: Log) -> None:
        """The next line."""
        self.total += 1
        # How trouble began says more than how it went on.
        if len(self._trouble) < MOST and (log.stream == "stderr" or _tells_of_trouble(log.line)):
            self._trouble.append((self.total, log))
        self._last.append((self.total, log))

    def excerpt(self, most: int) -> Sequence[tuple[float, str]]:
        """At most ``most`` lines in their order, masked, with the seconds at which they were written.

        The first lines that tell of trouble have two thirds of the room, the last lines the rest.
        """
        chosen = dict(self._trouble[: most * 2 // 3])
        for number, log in reversed(self._last):
            if len(chosen) >= most:
                break
            chosen[number] = log
        lines = [chosen[number] for number in sorted(chosen)]
        return [(log.at - self._zero, clip(clean(mask(log.line)), WIDTH)) for log in lines]


def read(folder: Path, zero: float) -> list[ServiceLog]:
    """The logs in a scenario's folder, by service. ``zero`` is in monotonic seconds."""
    found: dict[str, ServiceLog] = {}
    for log in rows(folder, Log):
        if log.service not in found:
            found[log.service] = ServiceLog(log.service, zero)
        found[log.service].add(log)
    return [found[service] for service in sorted(found)]


def _tells_of_trouble(line: str) -> bool:
    line = line.lower()
    # The plain search is ten times as fast, and most lines tell of nothing.
    return any(word in line for word in _WORDS) and _TROUBLE.search(line) is not None
