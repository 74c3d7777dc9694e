"""Labels and links of a scenario: what Allure groups, filters and shows beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaoskit.report.allure.identity import place

if TYPE_CHECKING:
    from chaoskit.language.scenario import Scenario


def labels(scenario: Scenario, control: bool) -> Iterator[tuple[str, str]]:
    """Values and kinds of Allure's labels for a scenario. Its tags are pytest markers, which Allure takes as tags.

    The suites are told too: Allure would derive them from pytest's node id, which depends on where pytest was started.
    """
    model = scenario.model
    yield model.severity, "severity"
    yield "Controls" if control else "Scenarios", "epic"
    yield scenario.environment.name, "feature"
    yield scenario.name, "story"
    if model.owner:
        yield model.owner, "owner"
    if model.case:
        yield model.case, "case"
    found = place(scenario.file)
    yield str(found.parent) if found.parent.name else "scenarios", "parentSuite"
    yield found.name, "suite"
