"""What a fault is: arguments checked at load, and one context manager that injects and cures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from chaoskit.base.registry import Registry
from chaoskit.language.types import Model

if TYPE_CHECKING:
    from chaoskit.alerting.sink import AlertSink
    from chaoskit.failpoints.client import FailpointClient
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal
    from chaoskit.toxiproxy.client import ToxiproxyControl
    from chaoskit.traffic.spec import Stream


@dataclass
class Evidence:
    """What a fault acted on. ``touched`` counts ``unit``s; with fewer than ``needed`` it has proved nothing.

    ``over`` is when it acted for the last time, where that is before its window ends: recovery counts from then.
    """

    unit: str = "connections"
    touched: int = 0
    needed: int = 1
    over: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FaultWindow:
    """What a fault is planned as: its ``name``, one of its kind at a time, and its ``length`` in seconds."""

    name: str
    length: float


@dataclass(frozen=True)
class Misfit:
    """What has no room in a fault's window: the argument ``key``, what is wrong, and what would do."""

    key: str
    what: str
    legal: Sequence[str]


UNPLANNED = 600.0
"""The length, in seconds, of a window that nobody has planned, as in tests written in Python."""

FAULT_WINDOW: ContextVar[FaultWindow | None] = ContextVar("chaoskit_window", default=None)
"""The window of the fault that is injected in this thread; None when nobody planned one."""


class FaultContext(Protocol):
    """What a fault may reach: nothing outside the environment that the scenario declared."""

    @property
    def toxiproxy(self) -> ToxiproxyControl:
        """The Toxiproxy server; proxies are named after the service they stand in front of."""

    @property
    def journal(self) -> Journal:
        """Where a change is written down before it is made."""

    @property
    def alerts(self) -> AlertSink:
        """Where notifications of alerts arrive."""

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

    through_proxy: ClassVar[bool] = False
    """It acts on the proxy in front of its target: one without a proxy is refused at load."""

    hides_calls: ClassVar[bool] = False
    """While it lasts no call comes as far as the proxy of its target: nobody can count those that are made."""

    @property
    @abstractmethod
    def target(self) -> str:
        """Name of what it acts on, for plans and reports."""

    @property
    def to_ask(self) -> str:
        """What to ask where it has touched nothing; ``while the fault lasts?`` follows."""
        return f"does traffic of this scenario reach {self.target}"

    def refusal(self, setting: Setting) -> Refusal | None:  # noqa: ARG002  # for faults that need something
        """Why it cannot be injected in ``setting``, or None.

        Asked while scenarios are collected: it may look at this machine (a program on the PATH, the user, ``/proc``),
        but must be quick, change nothing, and use neither Docker nor the network.
        """
        return None

    def misfit(self, seconds: float) -> Misfit | None:  # noqa: ARG002  # for those that need room
        """Why a window of ``seconds`` cannot hold what is asked of it, or None. Told at load, as a mistake."""
        return None

    def extra_requests(self, operation: str, seconds: float) -> float:  # noqa: ARG002  # for faults that send some
        """How many requests of an operation it sends itself in a window of ``seconds``."""
        return 0

    def conflict(self, other: Fault, *, first: bool) -> str:  # noqa: ARG002  # for those that do not compose
        """Why it cannot be active together with ``other``; empty where both compose. ``first``: it begins first.

        Asked of both, for each two whose windows overlap.
        """
        return ""

    def clash(self, later: Fault) -> str:
        """Why ``later`` may not begin while this one lasts; empty where both compose."""
        return self.conflict(later, first=True) or later.conflict(self, first=False)

    def died_of_it(self, status: int) -> bool:  # noqa: ARG002  # for faults that end what they act on
        """Whether an end of its target, with this exit status (negative: the signal) while it lasts, is its doing.

        Else such an end is the service's own, and violates the scenario. Signals sent by ``Service.kill``, and ends by
        ``Service.halt``, ``restart`` and ``stop``, are known without this.
        """
        return False

    @abstractmethod
    def inject(self, context: FaultContext) -> AbstractContextManager[Evidence]:
        """Inject on entering, cure on leaving. The evidence is complete once the manager has been left."""


FAULTS: Registry[type[Fault]] = Registry("fault", "chaoskit.faults")
