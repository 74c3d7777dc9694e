"""A loaded scenario: one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.language.expectation import Expectation
from chaoskit.language.model import Environment, ScenarioFile
from chaoskit.language.planned import PlannedFault
from chaoskit.language.sop import PlannedSop
from chaoskit.language.source import Source, YamlPath


@dataclass(frozen=True)
class PlannedExpectation:
    """An expectation, and where in the file it stands."""

    kind: str
    expectation: Expectation
    path: YamlPath


@dataclass(frozen=True)
class Scenario:
    """A loaded scenario: one test. A matrix gives one Scenario for each combination of its values."""

    name: str
    slug: str
    source: Source
    environment: Environment
    model: ScenarioFile
    faults: Sequence[PlannedFault]
    expectations: Sequence[PlannedExpectation]
    matrix: Mapping[str, str | int | float] = field(default_factory=dict)
    sops: Sequence[PlannedSop] = ()

    @property
    def file(self) -> Path:
        """The file it was read from."""
        return self.source.file

    def starts_sops(self, *, control: bool) -> bool:
        """Whether alerts start SOPs in a run, or in one of the ``control``."""
        return not (control and self.model.control is not None and self.model.control.without == "sops")

    @property
    def faults_length(self) -> float:
        """Seconds from the start of the first phase with faults to the end of the last fault."""
        return max(fault.at + fault.length for fault in self.faults)
