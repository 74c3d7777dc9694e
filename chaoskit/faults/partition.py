"""Keep two groups of services from hearing each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from chaoskit.base.errors import BrokenError
from chaoskit.faults._cgroup import grouped, relative
from chaoskit.faults._container import NetworkFault, addresses_of, container_of
from chaoskit.faults._host_capabilities import cannot_match, lacking
from chaoskit.faults._netfilter import Chain, Match, chain
from chaoskit.language.fault import Evidence, FaultContext
from chaoskit.language.types import ServiceName, problem
from chaoskit.system.pids import Pid, identify
from chaoskit.system.sockets import connections_to

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting
    from chaoskit.services.base import Service

_EXAMPLE = ["between: [[orders], [postgres, redis]]"]


def _two_groups(between: list[list[str]]) -> list[list[str]]:
    if len(between) != 2 or not all(between):
        raise problem("between names two groups of services", _EXAMPLE)
    if both := set(between[0]) & set(between[1]):
        raise problem(f"{', '.join(sorted(both))} cannot be on both sides", _EXAMPLE)
    return between


class Partition(NetworkFault):
    """Drops every packet between two groups of services, whoever sends it; both go on to hear all others.

    Rehearses a network split: each side believes the other is dead, and leases, leaders and quorums must sort it out.
    Connections stay open and fall silent, new ones are not answered.

    Arguments:

    - ``between``: the two groups: ``[[orders], [postgres, redis]]``.

    The packets are dropped in the kernel (iptables), on the direct way and on the way through the proxies:

    - Containers: in the network of each member, packets from and to the other side's containers, and from and to
      the proxies in front of them. A member that is started anew meanwhile has a new network, which is whole.
    - Processes of this machine: all share one loopback, so it is told by the sender's control group (version 2) who
      speaks: packets from a member to the ports of the other side's services and of their proxies. A member that is
      started anew meanwhile is not in that group.

    Third services that use the same proxies are not touched. Needs root and iptables.

    Evidence counts the ``packets`` dropped. Facts: ``rules``.
    """

    between: Annotated[list[list[ServiceName]], AfterValidator(_two_groups)]

    @property
    def members(self) -> set[str]:
        """Those of both groups."""
        return {name for side in self.between for name in side}

    @property
    def target(self) -> str:
        """Both groups."""
        return " | ".join(", ".join(side) for side in self.between)

    def refusal(self, setting: Setting) -> Refusal | None:
        """Without root or iptables; on processes also without control groups of version 2."""
        need = lacking("root", "iptables")
        if need is None and setting.runtime == "process":
            return cannot_match()
        return need

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Put the rules in place on entering, remove them on leaving."""
        kinds = {container_of(context.service(name)) is not None for name in self.members}
        if len(kinds) != 1:
            raise BrokenError("a partition is between containers or between processes, not between both")
        evidence = Evidence(unit="packets")
        with contextlib.ExitStack() as stack:
            build = self._containers if kinds == {True} else self._processes
            chains = build(context, stack)
            try:
                yield evidence
            finally:
                evidence.touched = sum(rules.counted().dropped for rules in chains)
                evidence.facts = {"rules": sum(rules.length for rules in chains)}

    def _containers(self, context: FaultContext, stack: contextlib.ExitStack) -> list[Chain]:
        """In the network namespace of each member: whom it must not hear."""
        chains = []
        for side, others in (self.between, self.between[::-1]):
            drops = [match for name in others for match in _way_to(context.service(name))]
            for name in side:
                pid = context.service(name).pid
                if pid is not None:
                    jumps: list[Match] = [["INPUT", "!", "-i", "lo"], ["OUTPUT", "!", "-o", "lo"]]
                    chains.append(stack.enter_context(chain(context.journal, pid, jumps, drops)))
        return chains

    def _processes(self, context: FaultContext, stack: contextlib.ExitStack) -> list[Chain]:
        """On loopback: who must not send to which ports."""
        drops: list[Match] = []
        for side, others in (self.between, self.between[::-1]):
            ports = sorted({port for name in others for port in _ports(context, name)})
            if not ports:
                continue
            wanted = ["-p", "tcp", "-m", "multiport", "--dports", ",".join(map(str, ports))]
            for service in map(context.service, side):
                if (leader := _leader(service)) is None:
                    continue
                ours = stack.enter_context(grouped(context.journal, service, "unified")).state
                members = ours.adopt(leader)
                drops.append([*wanted, "-m", "cgroup", "--path", relative(ours.path)])
                # A connection belongs to the group that its process was in when it was opened.
                for tcp in connections_to(members, ports):
                    local, remote = str(tcp.local_port), str(tcp.remote_port)
                    drops.append(["-p", "tcp", "--sport", local, "--dport", remote])
                    drops.append(["-p", "tcp", "--sport", remote, "--dport", local])
        return [stack.enter_context(chain(context.journal, None, [["OUTPUT", "-o", "lo"]], drops))] if drops else []


def _leader(service: Service) -> Pid | None:
    pid = service.pid
    return identify(pid) if pid is not None else None


def _way_to(service: Service) -> Iterator[Match]:
    """All packets from and to a service's container, and those of its port from and to what answers to its name."""
    container = container_of(service)
    assert container is not None
    own, proxies = addresses_of(service.name, container)
    for address in own:
        yield ["-s", address]
        yield ["-d", address]
    for address in proxies:  # one proxy may stand in front of several services: only this one is meant
        yield ["-p", "tcp", "-s", address, "--sport", str(service.inside[1])]
        yield ["-p", "tcp", "-d", address, "--dport", str(service.inside[1])]


def _ports(context: FaultContext, name: str) -> Iterator[int]:
    """Where a service is reached: its own port and its proxy's."""
    service = context.service(name)
    if service.port:
        yield service.port
    with contextlib.suppress(BrokenError):  # no proxy stands in front of it
        yield context.proxied(name)[1]
