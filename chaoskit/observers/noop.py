"""An observer that sees nothing: the pattern for a new one."""

from __future__ import annotations

from chaoskit.observers.base import Emit, Observer


class Noop(Observer):
    """Looks every second. A real observer calls ``self.emit(row)`` with what it saw."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit, interval=1.0, name="noop")

    def observe(self) -> None:
        """See nothing."""
