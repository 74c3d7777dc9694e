"""What the services wrote: from each so many lines, those that tell of trouble first."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.history.rows import Log
from chaoskit.mask import mask
from chaoskit.reporters.html.clean import clean, clip
from chaoskit.reporters.html.rows import rows

WIDTH = 400
_TROUBLE = re.compile(
    r"\b(?:error|critical|fatal|panic(?:ked)?|exception|traceback|warn(?:ing)?|refused|timed? ?out)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class ServiceLog:
    """Lines of one service with the seconds since ``zero`` at which they were written; ``total`` were there."""

    service: str
    lines: Sequence[tuple[float, str]]
    total: int


@dataclass
class _Kept:
    most: int
    total: int = 0
    trouble: list[tuple[int, Log]] = field(default_factory=list)
    last: deque[tuple[int, Log]] = field(default_factory=deque)

    def add(self, log: Log) -> None:
        self.total += 1
        # How trouble began says more than how it went on.
        if len(self.trouble) < self.most * 2 // 3 and (log.stream == "stderr" or _TROUBLE.search(log.line)):
            self.trouble.append((self.total, log))
        self.last.append((self.total, log))
        if len(self.last) > self.most:
            self.last.popleft()

    def lines(self) -> list[Log]:
        chosen = dict(self.trouble)
        for number, log in reversed(self.last):
            if len(chosen) >= self.most:
                break
            chosen[number] = log
        return [chosen[number] for number in sorted(chosen)]


def excerpt(folder: Path, zero: float, most: int) -> list[ServiceLog]:
    """At most ``most`` lines of each service: its first ones that tell of trouble, then its last ones. Masked.

    ``zero`` is the moment (monotonic seconds) from which times are counted.
    """
    kept: dict[str, _Kept] = {}
    for log in rows(folder, Log):
        kept.setdefault(log.service, _Kept(most)).add(log)
    return [
        ServiceLog(service, [(log.at - zero, clip(clean(mask(log.line)), WIDTH)) for log in one.lines()], one.total)
        for service, one in sorted(kept.items())
    ]
