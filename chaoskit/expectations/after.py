"""What the callers see in a quiet phase after recovery: ``after: {place-order: {success_rate: ">= 99.9%"}}``.

Damage that shows late (a poisoned pool, a leak, a queue that never drains) needs a time to show in:
``timeline: {after: 5s}``.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ConfigDict, RootModel

from chaoskit.expectations._evidence import vacuous
from chaoskit.expectations._operations import judge_operations
from chaoskit.language.expectation import Expectation, Finding, NeverKnown, no_phase_after
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.planned import Given
from chaoskit.language.samples import Demand, demands
from chaoskit.language.types import OperationName
from chaoskit.language.view import View


class After(Expectation, RootModel[dict[OperationName, OperationBounds]]):
    """Bounds by operation, over the requests that were to be sent in the phase ``after``."""

    model_config = ConfigDict(extra=None)  # the keys are operations, checked as such

    def demands(self) -> Iterator[Demand]:
        """As many as each bound needs."""
        return demands("after", self.root)

    def never_known(self, given: Given) -> Iterator[NeverKnown]:
        """Without a length of its own the phase may not come at all."""
        return no_phase_after(given, given.path)

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each bound, ``after.OPERATION.METRIC``."""
        phase = view.phases.get("after")
        for finding in judge_operations("after", self.root, view, [phase] if phase else []):
            if phase:
                yield finding
            else:
                why = "the timeline has no phase 'after'; give it a length: timeline: {after: 5s}"
                yield vacuous(finding.id, finding.expected, why, finding.path)
