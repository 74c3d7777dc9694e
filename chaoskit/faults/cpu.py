"""Let a service have only part of a core."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from chaoskit.errors import BrokenError
from chaoskit.faults._background import Background
from chaoskit.faults._cgroup import Group, group, group_of, numbers
from chaoskit.faults._container import container_of, updated
from chaoskit.faults._fields import Share
from chaoskit.faults._machine import lacking
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.pids import identify
from chaoskit.scenario.types import ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.scenario.setting import Refusal, Setting
    from chaoskit.services.base import Service

_PERIOD = 100_000
"""Microseconds of one period of the scheduler, in which a group may use its quota."""

_LOOK = 0.05
"""Seconds between two looks: was it started anew, how often was it throttled."""


def _enough(quota: float) -> float:
    if quota < 0.01:
        raise problem(f"the kernel's smallest quota is 1% of a core, is {quota * 100:g}%")
    return quota


class Cpu(Fault):
    """Caps a service's CPU time at a share of one core (the kernel's CFS quota).

    Rehearses a limit set too low, a noisy neighbour, a machine that steals time. Work goes on in jerks: within each
    100 ms the service runs until its quota is used up and then stands still. Latency grows before errors come.

    Arguments:

    - ``service``: which one, with all its descendants.
    - ``quota``: share of one core that it may use, at least ``1%``.

    Containers: ``docker update``. Processes of this machine: a control group of our own, for which root is needed. A
    service that is started anew meanwhile is capped as well.

    Evidence counts the ``periods`` in which the kernel throttled it: a service that needs less than its quota is not
    touched. Facts: ``periods`` in which it ran, ``seconds`` for which it stood still, summed over its threads' cores.
    """

    service: ServiceName
    quota: Annotated[Share, AfterValidator(_enough)]

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes without control groups."""
        return None if setting.runtime == "docker" else lacking("root", "cgroups")

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Set the quota on entering, lift it on leaving."""
        service = world.service(self.service)
        pid = service.pid
        leader = identify(pid) if pid is not None else None
        evidence = Evidence(unit="periods", facts={"quota": self.quota})
        if leader is None:
            yield evidence
            return
        micros, container = round(self.quota * _PERIOD), container_of(service)
        if container is not None:
            with updated(world.journal, container, cpu_quota=micros, cpu_period=_PERIOD):
                yield from _watched(service, evidence, lambda: _container_group(service))
            return
        with group(world.journal, "cpu", leader) as ours:
            if ours.version == 1:
                ours.write("cpu.cfs_period_us", _PERIOD)
                ours.write("cpu.cfs_quota_us", micros)
            else:
                ours.write("cpu.max", f"{micros} {_PERIOD}")
            ours.adopt(leader)
            yield from _watched(service, evidence, lambda: _our_group(service, ours))


def _watched(service: Service, evidence: Evidence, where: Callable[[], Path | None]) -> Iterator[Evidence]:
    """Keep an eye on the kernel's counters while the window lasts."""
    tally = _Tally(where)
    background = Background(f"cpu {service.name}", tally.run)
    try:
        yield evidence
    finally:
        background.stop()
        tally.look()
        evidence.touched = tally.total("nr_throttled")
        seconds = tally.total("throttled_time") / 1e9 + tally.total("throttled_usec") / 1e6
        evidence.facts |= {"periods": tally.total("nr_periods"), "seconds": round(seconds, 3)}
        background.check()


def _container_group(service: Service) -> Path | None:
    pid = service.pid
    found = group_of(pid, "cpu") if pid is not None else None
    if pid is not None and found is None and service.pid == pid:
        raise BrokenError(f"cannot see the CPU accounting of {service.name}: its processes are not on this machine")
    return found


def _our_group(service: Service, ours: Group) -> Path:
    pid = service.pid
    if pid is not None and pid not in ours.members() and (leader := identify(pid)) is not None:
        ours.adopt(leader)
    return ours.path


class _Tally:
    """Sums what the counters have grown by; a container that is started anew has a new group, which begins at 0."""

    def __init__(self, where: Callable[[], Path | None]) -> None:
        self._where = where
        self._group: Path | None = None
        self._last: dict[str, int] = {}
        self._sum: Counter[str] = Counter()
        self.look()
        self._sum.clear()

    def run(self, stopped: threading.Event) -> None:
        """Look again and again."""
        while not stopped.wait(_LOOK):
            self.look()

    def look(self) -> None:
        """Read the counters."""
        group = self._where()
        counted = numbers(group, "cpu.stat") if group is not None else {}
        if not counted:
            return
        if group != self._group or counted["nr_periods"] < self._last["nr_periods"]:
            self._group, self._last = group, {}
        for name, value in counted.items():
            self._sum[name] += value - self._last.get(name, 0)
        self._last = counted

    def total(self, name: str) -> int:
        """How much a counter has grown."""
        return self._sum[name]
