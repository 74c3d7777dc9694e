"""Faults that are one toxic on the proxy of a service."""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar

from chaoskit.errors import BrokenError
from chaoskit.faults._fields import Direction, Share
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import ServiceName

if TYPE_CHECKING:
    from chaoskit.toxiproxy.client import ProxyCounters, ToxicCounters, ToxiproxyControl

_serial = itertools.count(1)


class ToxicFault(Fault):
    """Base of the faults that set a toxic.

    The facts are the same for all: ``toxic`` (``connections`` it acted on, ``chunks`` and ``bytes`` it was given,
    connections it ``cut``) and ``proxy`` (over the window: connections ``opened``, bytes ``sent`` to the service and
    ``received`` from it), as ``type`` with the toxic's ``attributes`` in Toxiproxy's units.
    """

    on: ServiceName
    direction: Direction = "downstream"
    share: Share = 1.0

    toxic: ClassVar[str]
    """Toxiproxy's name of the type."""

    @property
    def target(self) -> str:
        """The service behind the proxy."""
        return self.on

    @abstractmethod
    def attributes(self) -> dict[str, int]:
        """The toxic's attributes, in Toxiproxy's units."""

    def touched(self, toxic: ToxicCounters, ended: int) -> int:  # noqa: ARG002  # SlowClose asks for it
        """How many connections it acted on; ``ended`` is how many connections of the proxy ended in the window."""
        return toxic.connections

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Add the toxic on entering, remove it on leaving. It acts on live connections at once."""
        control = world.toxiproxy
        name = f"chaoskit-{self.toxic}-{os.getpid()}-{next(_serial)}"
        attributes = self.attributes()
        evidence = Evidence(unit="connections", facts={"type": self.toxic, "attributes": attributes})
        before = counters_of(control, self.on)
        # No entry in the journal: the proxy, with all its toxics, is the run's own and goes with it.
        try:
            control.add_toxic(self.on, name, self.toxic, attributes, self.direction, self.share)
            try:
                yield evidence
            finally:
                # Before it is removed: some toxics cut what is left when they go, and that is not the fault's doing.
                after = counters_of(control, self.on)
                counted = after.toxics[name]
        finally:
            control.remove_toxic(self.on, name)
        ended = (after.opened - after.active) - (before.opened - before.active)
        evidence.touched = self.touched(counted, ended)
        evidence.facts |= {"toxic": asdict(counted), "proxy": passed(before, after)}


def counters_of(control: ToxiproxyControl, proxy: str) -> ProxyCounters:
    """The counters of a proxy, as of now. Raises BrokenError when there is no such proxy."""
    found = control.counters()
    if proxy not in found:
        raise BrokenError(f"no proxy stands in front of {proxy}: it has no port, or proxy: false")
    return found[proxy]


def passed(before: ProxyCounters, after: ProxyCounters) -> dict[str, int]:
    """What went through a proxy between two looks: connections opened, bytes sent to the service and received."""
    return {name: getattr(after, name) - getattr(before, name) for name in ("opened", "sent", "received")}
