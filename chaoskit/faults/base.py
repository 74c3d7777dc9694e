"""What a fault is: arguments checked at load, and one context manager that injects and cures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from chaoskit.registry import Registry
from chaoskit.scenario.types import Model

if TYPE_CHECKING:
    from chaoskit.failpoints.client import FailpointClient
    from chaoskit.journal import Journal
    from chaoskit.services.base import Service
    from chaoskit.toxiproxy.client import ToxiproxyControl
    from chaoskit.traffic.spec import Stream


@dataclass
class Evidence:
    """What a fault acted on. ``touched`` counts ``unit``s; a fault that touched none has proved nothing."""

    unit: str = "connections"
    touched: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class World(Protocol):
    """What a fault may reach: nothing outside the environment that the scenario declared."""

    @property
    def toxiproxy(self) -> ToxiproxyControl:
        """The Toxiproxy server; proxies are named after the service they stand in front of."""

    @property
    def journal(self) -> Journal:
        """Where a change is written down before it is made."""

    def service(self, name: str) -> Service:
        """A running service."""

    def proxied(self, name: str) -> tuple[str, int]:
        """Host and port of the proxy in front of a service."""

    def failpoints(self, name: str) -> FailpointClient:
        """The failpoint API of a service. Raises BrokenError if it has none."""

    def start_stream(self, stream: Stream) -> None:
        """Send extra traffic."""

    def stop_stream(self, stream_id: str) -> None:
        """End extra traffic."""

    def requests_sent(self, stream_id: str) -> int:
        """How many requests of a stream have been answered or given up so far."""

    def hold(self, undo: Callable[[], None]) -> None:
        """Run ``undo`` when the scenario has ended, not when the fault's window does."""


class Fault(Model, ABC):
    """Base of all faults. Fields are the fault's arguments; the file's name is its name in scenarios."""

    @property
    @abstractmethod
    def target(self) -> str:
        """Name of what it acts on, for plans and reports."""

    @abstractmethod
    def inject(self, world: World) -> AbstractContextManager[Evidence]:
        """Inject on entering, cure on leaving. The evidence is complete once the manager has been left."""


FAULTS: Registry[type[Fault]] = Registry("fault", "chaoskit.faults")
