"""An expectation that always holds: the shortest one there is, and the starting point for your own.

Copy this file, name it after your expectation (``slow_start.py``) and the class after the file
(``SlowStart``). Its fields are what a scenario may write below ``expect: {slow_start: ...}``; they are checked
when the scenario is loaded. ``judge`` looks at the history through the view and answers with findings.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.base.units import counted
from chaoskit.language.expectation import Expectation, Finding, Outcome
from chaoskit.language.view import View


class Noop(Expectation):
    """Expects nothing. ``note`` is shown in the report."""

    note: str = "nothing"

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding that holds."""
        requests = len(view.requests())
        yield Finding("noop", Outcome.HELD, self.note, counted(requests, "requests"), samples=requests)
