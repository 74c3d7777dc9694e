"""Let a service have only part of a core."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from chaoskit.base.errors import BrokenError
from chaoskit.faults._background import Background
from chaoskit.faults._cgroup import PERIOD, Group, group_of, grouped, numbers, tightest
from chaoskit.faults._container import container_of, limited
from chaoskit.faults._fields import Share
from chaoskit.faults._host_capabilities import lacking
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName, problem
from chaoskit.system.pids import identify

if TYPE_CHECKING:
    from chaoskit.faults._container import ContainerLimits
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service
    from chaoskit.system.layers import Layer

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
    service that is started anew meanwhile is capped as well. Where several overlap, the lowest quota counts.

    Evidence counts the ``periods`` in which the kernel throttled it while no other fault had set a lower quota: a
    service that needs less than its quota is not touched. Facts: ``periods`` in which it ran, ``seconds`` for which it
    stood still, summed over its threads' cores.
    """

    service: ServiceName
    quota: Annotated[Share, AfterValidator(_enough)]

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    @property
    def to_ask(self) -> str:
        """For its quota."""
        return f"does {self.service} need more than {self.quota * 100:g}% of a core"

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes without control groups."""
        return None if setting.runtime == "docker" else lacking("root", "cgroups")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Set the quota on entering, lift it on leaving."""
        service = context.service(self.service)
        evidence = Evidence(unit="periods", facts={"quota": self.quota})
        limits = {"cpu": round(self.quota * PERIOD)}
        if container_of(service) is not None:
            with limited(context.journal, service, limits, "cpu_quota", "cpu_period") as quota:
                yield from _watched(service, evidence, quota, _ContainerGroup(service, quota))
            return
        with grouped(context.journal, service, "cpu", limits) as quota:
            _our_group(service, quota.state)
            yield from _watched(service, evidence, quota, lambda: _our_group(service, quota.state))


def _watched(
    service: Service, evidence: Evidence, quota: Layer[Any], where: Callable[[], Path | None]
) -> Iterator[Evidence]:
    """Keep an eye on the kernel's counters while the window lasts."""
    tally = _Tally(where, lambda: quota.ask["cpu"] == tightest("cpu", quota.asked()))
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


class _ContainerGroup:
    """Finds the group of a service's container. One that was made anew gets the quota, too."""

    def __init__(self, service: Service, quota: Layer[ContainerLimits]) -> None:
        self._service = service
        self._quota = quota
        self._container = container_of(service)

    def __call__(self) -> Path | None:
        service, container = self._service, container_of(self._service)
        if container is not self._container:
            self._quota.change(self._quota.ask)
            self._container = container
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
    """Sums what the counters have grown by while the quota is ``in_force``.

    A container that is started anew has a new group, which begins at 0.
    """

    def __init__(self, where: Callable[[], Path | None], in_force: Callable[[], bool]) -> None:
        self._where = where
        self._in_force = in_force
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
        if self._in_force():
            for name, value in counted.items():
                self._sum[name] += value - self._last.get(name, 0)
        self._last = counted

    def total(self, name: str) -> int:
        """How much a counter has grown."""
        return self._sum[name]
