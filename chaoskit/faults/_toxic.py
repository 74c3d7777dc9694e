"""Faults that are toxics on the proxy of a service."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from chaoskit.base.errors import BrokenError
from chaoskit.faults._fields import Direction, Selection, Share
from chaoskit.language.fault import FAULT_WINDOW, UNPLANNED, Evidence, Fault, FaultContext, FaultWindow
from chaoskit.language.types import ServiceName
from chaoskit.toxiproxy.facts import Toxic, ToxicCounters

if TYPE_CHECKING:
    from chaoskit.toxiproxy.client import ToxiproxyControl
    from chaoskit.toxiproxy.facts import ProxyCounters

_MARGIN = 10.0
"""Seconds that a toxic may outlive its window: more than an engine that is alive is ever late."""

_serial = itertools.count(1)


class ProxyFault(Fault):
    """Base of the faults that set toxics.

    The facts are the same for all: ``toxic`` (``connections`` it acted on, ``chunks`` and ``bytes`` it was given,
    connections it ``cut``) and ``proxy`` (over the window: connections ``opened``, bytes ``sent`` to the service and
    ``received`` from it), as ``type`` with the toxic's ``attributes`` in Toxiproxy's units.

    Toxics of the embedded Toxiproxy remove themselves some seconds after the window: when the engine hangs, too.
    """

    through_proxy: ClassVar[bool] = True

    on: ServiceName
    connections: Selection | None = None

    @property
    def target(self) -> str:
        """The service behind the proxy."""
        return self.on

    @property
    def to_ask(self) -> str:
        """Connections that are kept alive are few."""
        if self.connections is None:
            return super().to_ask
        return f"does traffic of this scenario open new connections to {self.on} that `connections` chooses"

    @abstractmethod
    def toxics(self) -> Sequence[Toxic]:
        """What is set, in this order; it is removed the other way round. The first names the ``type`` of the facts.

        Name and lease of each are set here; so is which ``connections`` it acts on, where the scenario says so.
        """

    def touched(self, toxic: ToxicCounters, ended: int) -> int:  # noqa: ARG002  # SlowClose asks for it
        """How many connections they acted on; ``ended`` is how many connections of the proxy ended in the window."""
        return toxic.connections

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Add the toxics on entering, remove them on leaving. They act on live connections at once.

        Raises BrokenError when one of them was gone before it was removed.
        """
        control = context.toxiproxy
        toxics = self.toxics()
        facts = {"type": toxics[0].type, "attributes": dict(toxics[0].attributes)}
        evidence = Evidence(unit="connections", facts=facts)
        window = FAULT_WINDOW.get() or FaultWindow(f"{toxics[0].type}-{next(_serial)}", UNPLANNED)
        # The names are part of what the seed makes chance from: the same in each run, whatever else is run.
        names = [quote(f"chaoskit-{window.name}-{toxic.type}", safe="") for toxic in toxics]
        missed: list[str] = []

        def remove(name: str) -> None:
            if not control.remove_toxic(self.on, name):
                missed.append(name)

        chosen = self.connections.chosen() if self.connections else None
        before = counters_of(control, self.on)
        with ExitStack() as cures:
            for name, toxic in zip(names, toxics, strict=True):
                cures.callback(remove, name)
                control.set_toxic(
                    self.on,
                    replace(toxic, name=name, lease=window.length + _MARGIN, connections=chosen or toxic.connections),
                )
            try:
                yield evidence
            finally:
                # Before they are removed: some toxics cut what is left when they go, and that is not the fault's doing.
                after = counters_of(control, self.on)
                counted = _sum([after.toxics[name] for name in names])
        ended = (after.opened - after.active) - (before.opened - before.active)
        evidence.touched = self.touched(counted, ended)
        evidence.facts |= {"toxic": asdict(counted), "proxy": passed(before, after)}
        if missed:
            raise BrokenError(f"on {self.on}, {', '.join(missed)} was gone before its time: the fault ended early")


class ToxicFault(ProxyFault):
    """Base of the faults that are one toxic on the data of one direction."""

    direction: Direction = "downstream"
    share: Share = 1.0

    toxic: ClassVar[str]
    """Toxiproxy's name of the type."""

    @abstractmethod
    def attributes(self) -> dict[str, int]:
        """The toxic's attributes, in Toxiproxy's units."""

    def toxics(self) -> Sequence[Toxic]:
        """The one."""
        return [Toxic(self.toxic, self.attributes(), self.direction, self.share)]


def counters_of(control: ToxiproxyControl, proxy: str) -> ProxyCounters:
    """The counters of a proxy, as of now. Raises BrokenError when there is no such proxy."""
    found = control.counters()
    if proxy not in found:
        raise BrokenError(f"no proxy stands in front of {proxy}: it has no port, or proxy: false")
    return found[proxy]


def passed(before: ProxyCounters, after: ProxyCounters) -> dict[str, int]:
    """What went through a proxy between two looks: connections opened, bytes sent to the service and received."""
    return {name: getattr(after, name) - getattr(before, name) for name in ("opened", "sent", "received")}


def _sum(parts: Sequence[ToxicCounters]) -> ToxicCounters:
    """Of toxics that never act on the same connection."""
    fields = [asdict(part) for part in parts]
    return ToxicCounters(**{name: sum(each[name] for each in fields) for name in fields[0]})
