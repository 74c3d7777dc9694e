"""How pytest is told of a failed scenario: the whole text where failures are shown, one line where it sums up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Crash:
    """Where and why, in a line: what pytest's short summary, ``--tb=line`` and JUnit's ``message`` show."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        """As with ``--tb=line``."""
        return f"{self.path}:{self.lineno}: {self.message}"


@dataclass(frozen=True)
class FailureText:
    """The ``longrepr`` of a failed scenario, by the names that pytest asks it for."""

    text: str
    reprcrash: Crash

    def toterminal(self, writer: Any) -> None:
        """Show it whole."""
        writer.line(self.text)

    def __str__(self) -> str:
        """The whole text."""
        return self.text


def summed_up(report: Any, headline: str) -> None:
    """Give a report whose ``longrepr`` is the text of a failure a line that names the worst finding.

    From xdist's workers the text arrives as it was: so this is done where it is shown, and not where it was made.
    """
    if isinstance(report.longrepr, str):
        path, line, _ = report.location
        report.longrepr = FailureText(report.longrepr, Crash(path, (line or 0) + 1, headline))
