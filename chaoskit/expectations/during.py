"""What the callers see while a fault is active: ``during: {place-order: {success_rate: ">= 99%"}}``."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ConfigDict, RootModel

from chaoskit.expectations._evidence import vacuous
from chaoskit.expectations._operations import judge_operations
from chaoskit.language.expectation import Expectation, Finding
from chaoskit.language.operation_bounds import OperationBounds
from chaoskit.language.samples import Demand, demands
from chaoskit.language.types import OperationName
from chaoskit.language.view import View


class During(Expectation, RootModel[dict[OperationName, OperationBounds]]):
    """Bounds by operation, over the requests that were to be sent while at least one fault was active."""

    model_config = ConfigDict(extra=None)  # the keys are operations, checked as such

    def demands(self) -> Iterator[Demand]:
        """As many as each bound needs."""
        return demands("faults", self.root)

    def judge(self, view: View) -> Iterator[Finding]:
        """One finding for each bound, ``during.OPERATION.METRIC``."""
        for finding in judge_operations("during", self.root, view, view.fault_windows):
            if view.fault_windows:
                yield finding
            else:
                yield vacuous(finding.id, finding.expected, "no fault was active", finding.path)
