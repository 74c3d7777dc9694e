"""Whether a service runs, and with which settings: what ``stop``, ``restart`` and ``clock`` change of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from chaoskit.language.fault import Fault
from chaoskit.language.types import ServiceName
from chaoskit.system.layers import Layer, State, layer

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal


class LifeFault(Fault):
    """Base of the faults that end a service in an orderly way, and start it again."""

    service: ServiceName

    role: ClassVar[str]
    """``stops`` it for the window, ``restarts`` it once, or ``changes`` its settings for the window."""

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    def conflict(self, other: Fault, *, first: bool) -> str:
        """A service has one clock, and while it is stopped there is nothing to restart."""
        if not isinstance(other, LifeFault) or other.service != self.service:
            return ""
        if self.role == other.role == "changes":
            return f"{self.service} can live at one time only"
        if self.role == "restarts" and other.role == "stops" and not first:
            return f"{self.service} is stopped then: there is nothing to restart, and it must not come back yet"
        return ""


@dataclass(frozen=True)
class Wish:
    """What one fault asks: that it is ``stopped``, that it runs with ``env`` put over its own."""

    stopped: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


class Life(State):
    """A service: stopped while any fault asks for that; else it runs, with the settings that are asked for.

    One that was dead before is not brought to life. ``ended`` is the process that a stop has ended.
    """

    def __init__(self, journal: Journal, service: Service) -> None:
        super().__init__(journal)
        self._service = service
        self._own: dict[str, Any] = dict(service.spec.env)
        self._env: dict[str, Any] = {}
        self._stopped = False
        self._away = False  # we have ended it, and it is not back
        self.ended: int | None = None

    def set(self, asked: Sequence[Wish]) -> None:
        env = {name: value for wish in asked for name, value in wish.env.items()}
        was_stopped, self._stopped = self._stopped, any(wish.stopped for wish in asked)
        changed, pid = env != self._env, self._service.pid
        if changed:
            self._change(env)
        if self._stopped:
            if pid is not None and not was_stopped:
                self._away, self.ended = True, pid
                self._service.halt()
        elif pid is not None and changed:
            self._away = True
            self._service.restart()
            self._away = False
        elif self._away:
            self._service.start()
            self._away = False

    def end(self) -> None:
        self.set([])

    def _change(self, env: dict[str, Any]) -> None:
        """Other settings for its next start. What others have changed meanwhile stays."""
        spec = self._service.spec
        kept = {name: value for name, value in spec.env.items() if name not in self._env}
        own = {name: self._own[name] for name in self._env if name in self._own}
        self._service.spec = spec.model_copy(update={"env": {**kept, **own, **env}})
        self._env = env


def living(journal: Journal, service: Service, wish: Wish) -> AbstractContextManager[Layer[Life]]:
    """A wish for the length of a block."""
    return layer(journal, ("life", service.name), wish, lambda: Life(journal, service))
