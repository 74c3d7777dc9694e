"""A service of one's own, whose settings may name the addresses of the others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from chaoskit.services.managed import ManagedService
from chaoskit.traffic.templates import render


class Command(ManagedService):
    """``addresses`` gives what its templates may ask, as services see it."""

    def __init__(self, addresses: Callable[[], Mapping[str, Any]], name: str, spec: Any, **rest: Any) -> None:
        super().__init__(name, spec, **rest)
        self.fill = lambda text: render(text, addresses())

    @property
    def stop_signal(self) -> int:
        """When an environment is changed or ends, nobody waits for an orderly shutdown."""
        return signal.SIGKILL

    @property
    def restart_signal(self) -> int:
        """The fault ``restart`` is an orderly one."""
        return signal.Signals[f"SIG{self.spec.stop.signal}"]

    def words(self) -> list[str]:
        """The rendered command."""
        return [self.fill(word) for word in super().words()]
