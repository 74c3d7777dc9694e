"""The faults of a timeline, and what an expectation is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.language.fault import Fault
from chaoskit.language.model import Timeline
from chaoskit.language.source import YamlPath


@dataclass(frozen=True)
class PlannedFault:
    """A fault of the timeline. ``at`` and ``length`` are seconds, ``at`` counts from the end of steady."""

    name: str
    kind: str
    fault: Fault
    at: float
    length: float
    path: YamlPath


@dataclass(frozen=True)
class Given:
    """What an expectation is given to be judged by; ``path`` is where in the file it stands itself."""

    timeline: Timeline
    faults: Sequence[PlannedFault]
    path: YamlPath
