"""What the figures are drawn from: a scenario's history on one time axis, with its findings at hand.

Times are seconds from the start of the first fault (from the end of the steady phase where there was none), which
is how findings tell them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from chaoskit.history import rows as r
from chaoskit.history.store import History
from chaoskit.history.windows import Window
from chaoskit.judge.judging import view_of
from chaoskit.judge.verdict import Verdict
from chaoskit.language.expectation import Finding
from chaoskit.language.planned import PlannedFault
from chaoskit.language.scenario import Scenario
from chaoskit.language.view import View


@dataclass(frozen=True)
class Facts:
    """A scenario, what was seen, and what it came to. ``note`` is said under the title."""

    scenario: Scenario
    history: History
    verdict: Verdict
    note: str = ""

    @cached_property
    def view(self) -> View:
        """The history as expectations see it."""
        return view_of(self.scenario, self.history)

    @cached_property
    def origin(self) -> float:
        """The moment that is drawn as 0."""
        if self.view.first_fault is not None:
            return self.view.first_fault
        if "steady" in self.view.phases:
            return self.view.phases["steady"].end
        first = min((row.intended for row in self.view.requests()), default=0.0)
        return first + self.scenario.model.timeline.steady

    def at(self, moment: float) -> float:
        """A moment of the history on the figure's axis."""
        return moment - self.origin

    def span(self, window: Window) -> Window:
        """A window of the history on the figure's axis."""
        return Window(self.at(window.start), self.at(window.end))

    @cached_property
    def range(self) -> Window:
        """What the axis shows: from the steady phase (warm-up is not judged) to the last thing seen in a phase, or
        the plan where nothing was seen."""
        timeline = self.scenario.model.timeline
        phases = [phase for name, phase in self.view.phases.items() if name != "warm-up"]
        intended = [row.intended for row in self.view.requests()]
        ends = [phase.end for phase in phases] + [row.ended for row in self.view.faults] + intended
        if not ends:
            return Window(-timeline.steady, max(self.scenario.faults_length * 1.25, 1.0))
        start = min([phase.start for phase in phases] or [*intended, *(row.started for row in self.view.faults)])
        end = max(ends)
        if self.view.first_fault is None:  # the faults that never came are drawn where they were planned
            end = max(end, self.origin + self.scenario.faults_length)
        return Window(self.at(start), max(self.at(end), self.at(start) + 0.1))

    @cached_property
    def faults(self) -> list[tuple[PlannedFault, r.Fault | None]]:
        """The planned faults, each with its row if it was injected."""
        rows = {row.name: row for row in self.view.faults}
        return [(planned, rows.get(planned.name)) for planned in self.scenario.faults]

    @cached_property
    def fault_spans(self) -> list[Window]:
        """When each fault was active, in the order of the scenario; those never injected are left out."""
        return [self.span(Window(row.started, row.ended)) for _, row in self.faults if row is not None]

    def finding(self, id: str) -> Finding | None:
        """The finding with this id."""
        return next((found for found in self.findings(id) if found.id == id), None)

    def findings(self, prefix: str) -> list[Finding]:
        """The findings that a name covers, those that failed first."""
        found = [
            judged.finding
            for judged in self.verdict.findings
            if judged.finding.id == prefix or judged.finding.id.startswith(prefix + ".")
        ]
        return sorted(found, key=lambda finding: finding.held)

    @cached_property
    def operations(self) -> list[str]:
        """Operations that had traffic, those that are judged first."""
        asked = {judged.finding.id.split(".")[1] for judged in self.verdict.findings if "." in judged.finding.id}
        names = [name for name in self.view.operations if self.view.requests(name)]
        return sorted(names, key=lambda name: name not in asked and name not in self.scenario.model.steady_state)
