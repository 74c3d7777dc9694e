"""Burn CPU time and hold memory beside a service."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from chaoskit.base.clock import now, wait_for
from chaoskit.base.errors import BrokenError, TimeoutExpired
from chaoskit.faults._cgroup import group_of
from chaoskit.faults._container import container_of
from chaoskit.faults._host_capabilities import lacking, needs_docker
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, Size, problem
from chaoskit.system.priority import niceness_of, prioritise
from chaoskit.system.processes import ManagedProcess, start_process

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service
    from chaoskit.system.journal import Journal

_LIFETIME = 600
"""Seconds after which a load ends by itself, whatever becomes of us."""

_MOST_MEMORY = 8 << 30

_BURN = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
print("began", flush=True)
while time.monotonic() < end:
    for _ in range(100_000):
        pass
"""

_HOLD = """
import mmap, sys, time
held = mmap.mmap(-1, int(sys.argv[2]))
for place in range(0, len(held), mmap.PAGESIZE):
    held[place] = 1
print("began", flush=True)
time.sleep(float(sys.argv[1]))
"""

# Nothing is burnt or taken before the process is where it belongs.
_WHEN_PLACED = 'while [ ! -e "$1" ]; do sleep 0.01; done; shift; exec "$@"'

_serial = itertools.count(1)


class Stress(Fault):
    """Runs a load of our own beside a service: processes that burn CPU time, and one that holds memory.

    Rehearses a noisy neighbour, a batch job on the same machine, a side-car gone wild.

    Arguments:

    - ``service``: beside which one. The load runs on the cores that its main process may use.
    - ``cpu``: how many processes burn CPU time, at most 64.
    - ``memory``: how much memory is held, at most 8GiB.
    - ``nice``: 0 (the default: they compete as equals) to 19 (they take what is left over).

    Containers: the load runs inside the container's control groups, and so takes its share of the container's
    own CPU quota and memory limit, and may bring the OOM killer upon it (needs root). Processes of this machine: it
    runs in the group that we are in, beside whatever runs there, the traffic generator too; more that burn CPU time
    than there are cores are therefore refused, unless they are nice. The load ends with the window, or ten minutes
    after it began if we do not.

    Evidence counts the ``milliseconds`` of CPU time that the load has got, or, without ``cpu``, the ``bytes`` that it
    held in memory at the end. Facts: ``cpu_seconds``, ``bytes``, ``died`` (how many of its processes ended early).
    """

    service: ServiceName
    cpu: int = Field(0, ge=0, le=64)
    memory: Size = 0.0
    nice: int = Field(0, ge=0, le=19)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.cpu and not self.memory:
            raise problem("stress needs a load", ["cpu: 2", "memory: 200MB"])
        if self.memory > _MOST_MEMORY:
            raise problem("memory is at most 8GiB")
        return self

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    def refusal(self, setting: Setting) -> Refusal | None:
        """On containers without root: their control groups are root's. On processes where it would starve us too."""
        if setting.runtime == "docker":
            return lacking("root")
        cores = len(os.sched_getaffinity(0))
        if self.nice or self.cpu <= cores:
            return None
        hint = f"on this machine {self.cpu} that burn CPU time on {cores} cores would starve the traffic generator too"
        return needs_docker(setting, f"{hint}; use fewer, or nice")

    def died_of_it(self, status: int) -> bool:
        """By the kernel's OOM killer, where it holds memory."""
        return bool(self.memory) and status == -signal.SIGKILL

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Start the load on entering, end it on leaving."""
        service = context.service(self.service)
        evidence = Evidence(unit="milliseconds" if self.cpu else "bytes")
        if service.pid is None:
            yield evidence
            return
        with self._load(context.journal, service) as load:
            try:
                yield evidence
            finally:
                seconds, held = sum(map(_cpu_seconds, load)), sum(map(_resident, load[self.cpu :]))
                evidence.touched = round(seconds * 1000) if self.cpu else held
                evidence.facts = {
                    "cpu_seconds": round(seconds, 3),
                    "bytes": held,
                    "died": sum(not _resident(process) for process in load),
                }

    @contextmanager
    def _load(self, journal: Journal, service: Service) -> Iterator[list[ManagedProcess]]:
        programs = [[_BURN, str(_LIFETIME)]] * self.cpu
        if self.memory:
            programs.append([_HOLD, str(_LIFETIME), str(int(self.memory))])
        folder = service.folder.parent / f"stress-{os.getpid()}-{next(_serial)}"
        with contextlib.ExitStack() as stack:
            stack.callback(journal.undo, journal.make_folder(folder))
            load = []
            for number, program in enumerate(programs):
                gate = folder / f"{number}.go"
                process = start_process(
                    ["/bin/sh", "-c", _WHEN_PLACED, "sh", str(gate), sys.executable, "-ISc", *program],
                    name=f"stress {service.name}",
                    journal=journal,
                    pidfile=folder / f"{number}.pid",
                    on_line=lambda *_: None,
                    leased=True,
                )
                stack.callback(process.terminate, 0.0)
                load.append(process)
                self._place(process.pid, service)
                gate.touch()
            for process in load:
                _await_began(process)
            yield load

    def _place(self, pid: int, service: Service) -> None:
        """Put a process of ours where the service is."""
        main = service.pid
        if main is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(pid, os.sched_getaffinity(main))
            prioritise(pid, min(19, niceness_of(main) + self.nice))
        if container_of(service) is None:
            return
        for controller in ("cpu", "memory"):
            group = group_of(main, controller)
            if group is None:
                raise BrokenError(
                    f"cannot see the control groups of {service.name}: its container is not on this machine"
                )
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")


def _await_began(process: ManagedProcess) -> None:
    """Memory is taken within this time, or the process was killed for asking."""
    began = now()
    try:
        wait_for(
            lambda: "began" in process.last_lines or process.poll() is not None,
            what=f"{process.name} to begin",
            limit=20.0,
        )
    except TimeoutExpired as error:
        lines = " ".join(process.last_lines)
        raise BrokenError(f"{error} (after {now() - began:.1f} s; it said: {lines or 'nothing'})") from error


def _cpu_seconds(process: ManagedProcess) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it died, and what it burnt is not known
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: ManagedProcess) -> int:
    try:
        pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
