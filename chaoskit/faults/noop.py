"""A fault that does nothing: the place to start from when writing one (see docs/how-to/add-a-fault.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.language.fault import Evidence, Fault, FaultContext


class Noop(Fault):
    """Does nothing to anyone.

    Rehearses the rehearsal: with it a scenario goes through all its phases undisturbed, which shows whether its
    steady state and its thresholds hold at all, and how long they take.

    Arguments: none.

    Evidence: always one ``window``, so that a scenario made of it is not vacuous.
    """

    @property
    def target(self) -> str:
        """Nothing."""
        return "nothing"

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:  # noqa: ARG002  # the contract's signature
        """Open the window and close it."""
        evidence = Evidence(unit="windows")
        try:
            yield evidence
        finally:
            evidence.touched = 1
