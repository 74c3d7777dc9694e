"""Lose some of the packets to and from a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from chaoskit.base.errors import BrokenError
from chaoskit.faults._fields import Share
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults._netfilter import Match, chain, has_own_network
from chaoskit.language.fault import Evidence, Fault, FaultContext
from chaoskit.language.types import ServiceName

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service


class PacketLoss(Fault):
    """Drops a share of a service's packets in the kernel, below TCP: also UDP, and whatever else it speaks.

    Rehearses a bad line or an overloaded switch. TCP sends again after 200 ms, then 400 ms and so on, so what
    shows is a long tail of latencies, and now and then a connection that cannot be opened in time. (A toxic
    cannot do this: it sits above TCP.)

    Arguments:

    - ``on``: the service.
    - ``loss``: which share of the packets.
    - ``direction``: ``both`` (the default), ``upstream`` (to the service) or ``downstream`` (from it).

    A container loses packets on its network interfaces: with its callers and with its own dependencies alike. If
    it is started anew meanwhile, its new network is whole. A process of this machine loses packets on loopback
    from and to the service's own port: between it and its proxy, and with those who ask it directly.

    Needs root and iptables. Evidence counts the ``packets`` dropped. Facts: ``packets`` that came by.
    """

    on: ServiceName
    loss: Share
    direction: Literal["both", "upstream", "downstream"] = "both"

    @property
    def target(self) -> str:
        """The service."""
        return self.on

    def refusal(self, setting: Setting) -> Refusal | None:  # noqa: ARG002  # the same for both runtimes
        """Without root or iptables."""
        return lacking("root", "iptables")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Put the rule in place on entering, remove it on leaving."""
        service = context.service(self.on)
        pid = service.pid
        evidence = Evidence(unit="packets", facts={"packets": 0})
        if pid is None:
            yield evidence
            return
        own = has_own_network(pid)
        jumps = self._interfaces() if own else self._port(service)
        drops = [["-m", "statistic", "--mode", "random", "--probability", f"{self.loss:.6f}"]]
        with chain(context.journal, pid if own else None, jumps, drops) as rules:
            try:
                yield evidence
            finally:
                counted = rules.counted()
                evidence.touched, evidence.facts["packets"] = counted.dropped, counted.seen

    def _interfaces(self) -> list[Match]:
        ways = {"upstream": ["INPUT", "!", "-i", "lo"], "downstream": ["OUTPUT", "!", "-o", "lo"]}
        return [match for way, match in ways.items() if self.direction in ("both", way)]

    def _port(self, service: Service) -> list[Match]:
        if not service.port:
            raise BrokenError(f"{service.name} has no port of its own: there are no packets of it to lose")
        ways = {"upstream": "--dport", "downstream": "--sport"}
        return [
            ["INPUT", "-i", "lo", "-p", protocol, option, str(service.port)]
            for way, option in ways.items()
            if self.direction in ("both", way)
            for protocol in ("tcp", "udp")
        ]
