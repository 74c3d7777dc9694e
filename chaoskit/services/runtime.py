"""Where a service runs: the surface that processes and containers share, and the runtime of processes."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chaoskit.base.errors import BrokenError
from chaoskit.language.service import ServiceSpec
from chaoskit.system.journal import Journal
from chaoskit.system.pids import Pid
from chaoskit.system.ports import free_port
from chaoskit.system.processes import ManagedProcess, OnLine, start_process
from chaoskit.system.sockets import held_by_another, taken

if TYPE_CHECKING:
    from chaoskit.language.service import BuildSpec
    from chaoskit.services.docker.container import Container

ONLY_A_COMMAND = "{name} has only a command: to run it in a container, say image: or build: beside it"

OnExit = Callable[["Running"], None]
"""Called once with what has ended, when its exit status is known, on a thread that watches it."""


class Running(Protocol):
    """One life of a service, from its launch to its death, like :class:`~chaoskit.system.processes.ManagedProcess`."""

    @property
    def pid(self) -> int:
        """The main process, as this machine numbers it."""

    @property
    def last_lines(self) -> Collection[str]:
        """The latest log lines (at most 50)."""

    @property
    def paused(self) -> bool:
        """True between :meth:`pause` and :meth:`resume`."""

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""

    def wait(self, limit: float) -> int:
        """The exit status, once ended and all output was handed out. TimeoutExpired after ``limit`` seconds."""

    def kill(self, number: int) -> bool:
        """Send a signal. False when it is gone."""

    def pause(self) -> bool:
        """Let it hang, with all its descendants. False when it is gone."""

    def resume(self) -> bool:
        """Let it go on. False when it is gone."""

    def terminate(self, grace: float, number: int) -> int:
        """End it, paused or not: the signal ``number`` first, SIGKILL after ``grace`` seconds. Gives the status."""


@dataclass(frozen=True)
class ContainerPlan:
    """What to run as a container.

    ``build`` makes the image where it is not there, with ``rebuild`` always (what has not changed is quick).
    ``entrypoint`` and ``command`` are the image's own where None, ``user`` where empty. ``files`` (absolute path to
    content) are put in before the first start.
    """

    image: str
    build: BuildSpec | None = None
    rebuild: bool = False
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, spec: ServiceSpec, command: list[str]) -> ContainerPlan:
        """What a service's own words say. Raises BrokenError when they say neither ``image`` nor ``build``."""
        if spec.image is not None:
            return cls(spec.image, spec.build, command=command or None)
        if spec.build is None:
            raise BrokenError(ONLY_A_COMMAND.format(name=name))
        image = f"chaoskit-built-{name}:{zlib.crc32(str(spec.build).encode()):08x}"
        return cls(image, spec.build, rebuild=True, command=command or None)


class Launchable(Protocol):
    """What a runtime asks of a service."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def folder(self) -> Path:
        """Its own folder, which exists."""

    @property
    def spec(self) -> ServiceSpec:
        """What the environment's file says of it."""

    @property
    def stop_signal(self) -> int:
        """What ends it for good."""

    def argv(self) -> list[str]:
        """The program to run as a process."""

    def plan(self) -> ContainerPlan:
        """What to run as a container. Raises BrokenError when it says neither ``image`` nor ``build``."""

    def environment(self) -> dict[str, str]:
        """Its environment variables."""


class Runtime(ABC):
    """Where one service runs, as long as its environment lasts: through restarts and changes of its settings.

    ``host`` and ``port`` are where we reach the service, ``inside`` where other services reach it, ``listen``
    where its program listens; ``failpoints_port`` and ``failpoints_listen`` the same of its failpoint API.
    """

    host: str
    port: int
    inside: tuple[str, int]
    listen: tuple[str, int]
    failpoints_port: int | None
    failpoints_listen: str
    contained = False
    """True where services are containers."""

    @abstractmethod
    def launch(self, service: Launchable, on_line: OnLine, on_exit: OnExit | None) -> Running:
        """Start it, or start it again with the data it had. Raises BrokenError."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is left of it (its data too), once it has ended."""

    def health(self) -> str | None:
        """What the image's own health check says: empty when healthy. None where there is no such check."""
        return None

    def another(self, running: Running | None) -> str:  # noqa: ARG002  # for those that share our network
        """Who listens at its address and is none of ``running``'s processes, in words; empty when nobody.

        None: it is not launched yet, so whoever is there is another.
        """
        return ""

    @property
    def container(self) -> Container | None:
        """The container, where there is one."""
        return None


class ProcessRuntime(Runtime):
    """A process of this machine, which shares its network: all addresses are the same."""

    def __init__(self, spec: ServiceSpec, journal: Journal, host: str = "127.0.0.1") -> None:
        self._journal = journal
        self._starts = 0
        self.host = host
        self.port = free_port(host) if spec.port == "auto" else spec.port
        self.inside = self.listen = (self.host, self.port)
        self.failpoints_port = free_port(host) if spec.failpoints else None
        self.failpoints_listen = f"{host}:{self.failpoints_port}"

    def launch(self, service: Launchable, on_line: OnLine, on_exit: OnExit | None) -> Running:
        """Start its program as our child."""
        return self.run(service, service.argv(), on_line, on_exit)

    def run(self, service: Launchable, argv: list[str], on_line: OnLine, on_exit: OnExit | None = None) -> Running:
        """Start a program as it would run itself: with its environment, and ended with it."""
        self._starts += 1
        return start_process(
            argv,
            name=service.name,
            journal=self._journal,
            pidfile=service.folder / f"{self._starts}.pid",
            on_line=on_line,
            on_exit=on_exit,
            env=service.environment(),
            cwd=Path(service.spec.cwd) if service.spec.cwd else None,
            stop_signal=service.stop_signal,
        )

    def another(self, running: Running | None) -> str:
        """Found by the sockets and the process tree. Raises BrokenError where the system does not tell these."""
        if running is None and not taken(self.host, self.port):
            return ""
        own = running.processes if isinstance(running, ManagedProcess) else list[Pid]
        return held_by_another(self.host, self.port, own)

    def discard(self) -> None:
        """A process leaves nothing but its folder, which is the service's."""
