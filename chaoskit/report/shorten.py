"""The lines of a long reason that tell most: what happened, and what is said to be the cause."""

from __future__ import annotations

import re

_CAUSE = re.compile(
    r"error|exception|fatal|panic|refused|denied|cannot|could not|not found|no such|missing", re.IGNORECASE
)


def gist(reason: str) -> list[str]:
    """The first line of ``reason``, and the last further one that names a cause (else the very last), if there is any.

    A reason that quotes a log ends with it: a traceback's last line is why. ``…`` stands for lines left out between.
    """
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    if len(lines) < 2:
        return lines or [""]
    cause = next((index for index in range(len(lines) - 1, 0, -1) if _CAUSE.search(lines[index])), len(lines) - 1)
    return [lines[0], lines[cause] if cause == 1 else f"… {lines[cause]}"]
