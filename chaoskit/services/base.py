"""What a service is to the rest of the house: something that runs at an address and can be hurt."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaoskit.base.clock import now
from chaoskit.history.rows import Event, Row
from chaoskit.language.service import ServiceSpec
from chaoskit.system.journal import Journal

if TYPE_CHECKING:
    from chaoskit.services.docker.container import Container

Emit = Callable[[Row], None]
"""Takes a row of the history. Called from any thread."""


Address = tuple[str, int]
"""Host and port."""

SNAPSHOT_LIMIT = 64_000_000
"""Bytes that :meth:`Service.snapshot` may take of one service: they are held in memory."""


@dataclass(frozen=True)
class Neighbours:
    """What a service may know of its environment.

    ``link`` gives where the services reach the proxy of a service (the service itself where there is none), and
    ``redirect`` leads the proxy of the first service named to the second, at the same address. Relative paths of the
    environment start from ``folder``; ``receiver`` gives the addresses at which chaoskit is told of alerts;
    ``alerting`` is ``prometheus`` or ``embedded``; ``firing`` gives the labels of the alerts that it was told of and
    that have not ended.
    """

    services: Mapping[str, Service]
    link: Callable[[str], Address]
    redirect: Callable[[str, str], None]
    folder: Path = Path()
    receiver: Callable[[], Mapping[str, Any]] = dict
    alerting: str = "embedded"
    firing: Callable[[], Iterable[Mapping[str, str]]] = tuple


class Service(ABC):
    """One service of an environment. Its address stays the same for life; ``emit`` may be set at any time.

    ``host`` and ``port`` are where we reach it, ``inside`` is where the other services do: the same for processes,
    a name of their network and another port for containers.

    All methods may be called in any state and as often as one likes with the same result. Those that change
    something raise BrokenError when they fail.
    """

    default_protocol = "tcp"

    def __init__(
        self,
        name: str,
        spec: ServiceSpec,
        *,
        folder: Path,
        journal: Journal,
        emit: Emit,
    ) -> None:
        self.name = name
        self.spec = spec
        self.folder = folder
        self.journal = journal
        self.emit = emit
        self.host = "127.0.0.1"
        self.port = 0
        self.inside = (self.host, self.port)

    @property
    def protocol(self) -> str:
        """``http`` or ``tcp``: what the proxy in front of it may look into."""
        speaks_http = self.spec.ready.http is not None or self.spec.metrics is not None
        return self.spec.protocol or ("http" if speaks_http else self.default_protocol)

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The main process while it runs."""

    def join(self, neighbours: Neighbours) -> None:  # noqa: B027  # most services live for themselves
        """Told once, before the first start. Services that belong together find each other here."""

    @property
    def upstream(self) -> Address:
        """Where the proxy that bears its name leads: to the service itself unless it knows better."""
        return self.inside

    @property
    def resting(self) -> bool:
        """True while an end of it is meant: it is being stopped, or has been, and not been started again."""
        return False

    @property
    def needs_recreate(self) -> bool:
        """True when nothing less than :meth:`stop` and :meth:`start` makes it as good as new."""
        return False

    @property
    def container(self) -> Container | None:
        """Its container once it was started; None for a process."""
        return None

    @property
    @abstractmethod
    def last_exit(self) -> int | None:
        """Exit status of the latest death (negative: the signal), None before the first."""

    @abstractmethod
    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """End it and remove its data. It can be started anew."""

    @abstractmethod
    def halt(self) -> None:
        """End it as an orderly deployment does. Its data and its address stay; ``start`` brings it back."""

    @abstractmethod
    def restart(self) -> None:
        """End it as an orderly deployment does, and start it with the data it had, at the same address."""

    @abstractmethod
    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal, as a fault. SIGKILL waits until it is dead. False when there was nothing to kill."""

    @abstractmethod
    def pause(self) -> bool:
        """Let it hang: it keeps its connections and answers nothing. False when there was nothing to pause."""

    @abstractmethod
    def resume(self) -> bool:
        """Let a paused service go on. False when it is gone."""

    @abstractmethod
    def alive(self) -> bool:
        """True while its main process exists, be it ready or paused."""

    @abstractmethod
    def ready(self) -> bool:
        """One readiness check, now (at most 1 s)."""

    def reset(self) -> None:  # noqa: B027  a service without a memory needs no reset
        """Make it as good as new for the next scenario, but for its data; quick. Does nothing unless a service knows
        better."""

    def snapshot(self) -> Any:
        """What it holds now, for :meth:`restore`; equal to an earlier one when nothing was written between the two.

        None for a service without data, or whose data is to stay. Raises BrokenError, also when it holds too much.
        """
        return None

    def restore(self, snapshot: Any) -> None:  # noqa: B027  # only who gives a snapshot is asked
        """Bring back what it held, beneath the connections that are open; quick.

        Raises NotRestorable when only starting anew does that, BrokenError when it fails.
        """

    def settle(self) -> None:  # noqa: B027  # most services need nothing of the others to be as good as new
        """Called before each scenario, when all services are ready: wait for what it needs of the others."""

    def told(self) -> Mapping[str, Any]:
        """What reports should say of it: ``version``, and ``changes`` made to a team's own files for the rehearsal."""
        return {}

    def url(self, host: str | None = None, port: int | None = None) -> str:
        """Its URL; with a proxy's host and port the URL that leads through the proxy."""
        return f"{self.protocol}://{host or self.host}:{port or self.port}"

    def limit(self) -> int | None:
        """How many connections it accepts at the same time, where it has such a limit."""
        return None

    @property
    def metrics_url(self) -> str | None:
        """Where it gives its metrics, asked directly and not through the proxy."""
        if self.spec.metrics is None:
            return None
        return f"http://{self.host}:{self.port}{self.spec.metrics}"

    @property
    def failpoints_url(self) -> str | None:
        """Where its failpoints are set, if it has any."""
        return None

    def last_lines(self) -> list[str]:
        """The latest log lines (at most 50), for error messages."""
        return []

    def event(
        self,
        what: str,
        *,
        pid: int | None = None,
        code: int | None = None,
        at: float | None = None,
        detail: str = "",
    ) -> None:
        """Write down what happened to it."""
        moment = now() if at is None else at
        self.emit(Event(service=self.name, at=moment, what=what, pid=pid, code=code, detail=detail))
