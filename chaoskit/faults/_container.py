"""What faults do to a container by way of the Docker daemon: its limits, and its place in the network."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chaoskit.base.clock import wait_for
from chaoskit.faults._cgroup import PERIOD, Limits, tightest
from chaoskit.language.fault import Fault
from chaoskit.services.docker.undo import there, where
from chaoskit.system.layers import Layer, State, layer
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from chaoskit.services.docker.container import Container
    from chaoskit.system.journal import Journal

_SETTINGS = {"cpu_quota": "CpuQuota", "cpu_period": "CpuPeriod", "mem_limit": "Memory", "memswap_limit": "MemorySwap"}
_NONE = {"cpu_quota": -1, "cpu_period": 100_000, "mem_limit": 1 << 50, "memswap_limit": 1 << 51}
"""What means "no limit". Docker takes 0 for "as it is", and refuses -1 for memory: pebibytes are no limit either."""


_ENDING = 5.0
"""Seconds in which a container that is just ending has ended."""


def give_back(id: str, name: str, limits: dict[str, int]) -> None:
    """Give a container the limits it had; one that is gone took them along.

    One that is just ending refuses for a moment, and then takes them for its next start. Raises BrokenError.
    """
    from chaoskit.services.docker.daemon import MissingError, Refused, ask, client

    refusal = ""

    def taken() -> bool:
        nonlocal refusal
        try:
            ask(f"limit {name}", lambda: client().api.update_container(id, **limits))
        except MissingError:
            return True
        except Refused as error:
            refusal = str(error)
            if not any(words in refusal for words in ("not running", "stopped container")):
                raise
            return False
        return True

    wait_for(taken, what=f"{name} to take its limits back", limit=_ENDING, every=0.05, last_seen=lambda: refusal)


def _undo_limits(facts: Facts) -> None:
    give_back(facts["id"], facts["name"], facts["limits"])


def _undo_disconnect(facts: Facts) -> None:
    from chaoskit.services.docker.daemon import MissingError, ask, client

    def connect() -> None:
        api = client().api
        networks = api.inspect_container(facts["id"])["NetworkSettings"]["Networks"].values()
        if facts["network"] not in [network["NetworkID"] for network in networks]:
            api.connect_container_to_network(facts["id"], facts["network"], aliases=facts["aliases"])

    with contextlib.suppress(MissingError):
        ask(f"connect {facts['name']}", connect)


# {name, id, host, limits}: give it the limits it had
register_kind("container-limits", there(_undo_limits))
# {name, id, host, network, aliases}: put it back on its network
register_kind("container-network", there(_undo_disconnect))


class NetworkFault(Fault):
    """Base of the faults on the networks that containers have when they begin."""

    cuts: ClassVar[bool] = False
    """Whether it takes its members off their networks."""

    @property
    @abstractmethod
    def members(self) -> set[str]:
        """The services."""

    def conflict(self, other: Fault, *, first: bool) -> str:  # noqa: ARG002  # the same either way
        """What comes back to a network has new interfaces, and perhaps other addresses."""
        if not self.cuts or not isinstance(other, NetworkFault) or other.cuts:
            return ""
        both = ", ".join(sorted(self.members & other.members))
        return f"{both} is taken off its networks, and comes back without what was set there" if both else ""


def container_of(service: Service) -> Container | None:
    """The container that a service runs in, or None for a process of this machine."""
    return service.container


def limits_of(container: Container, *names: str) -> dict[str, int]:
    """Limits as ``update`` takes them."""
    settings: dict[str, Any] = container.inspect()["HostConfig"]
    found = {name: settings[_SETTINGS[name]] for name in names}
    return {name: limit if limit > 0 else _NONE[name] for name, limit in found.items()}


class ContainerLimits(State):
    """The limits of a service's container: the tightest that faults ask for, and its own where that is tighter.

    Setting it again finds the container that the service has now: it may have been made anew meanwhile.
    """

    def __init__(self, journal: Journal, service: Service, *names: str) -> None:
        super().__init__(journal)
        self._service = service
        self._names = names
        self._own: dict[str, dict[str, int]] = {}
        """What each container had, by its id."""
        self._changed = False

    def set(self, asked: Sequence[Limits]) -> None:
        container = container_of(self._service)
        if container is None:
            return
        if container.id not in self._own:
            own = limits_of(container, *self._names)
            self.note("container-limits", name=container.name, id=container.id, limits=own, host=where())
            self._own[container.id] = own
        own, changed = self._own[container.id], {}
        if (cpu := tightest("cpu", asked)) is not None:
            quota = own["cpu_quota"] / own["cpu_period"] * PERIOD
            changed = {"cpu_quota": cpu if quota < 0 else min(cpu, round(quota)), "cpu_period": PERIOD}
        if (memory := tightest("memory", asked)) is not None:
            memory = min(memory, own["mem_limit"])
            changed |= {"mem_limit": memory, "memswap_limit": memory}
        if changed:
            container.update(**changed)
        elif self._changed:
            give_back(container.id, container.name, own)
        self._changed = bool(changed)


def limited(
    journal: Journal, service: Service, limits: Limits, *names: str
) -> contextlib.AbstractContextManager[Layer[ContainerLimits]]:
    """Limits of a container for the length of a block; ``names`` are those it is about, as ``update`` takes them."""
    key = ("container-limits", service.name, names)
    return layer(journal, key, limits, lambda: ContainerLimits(journal, service, *names))


class Disconnected(State):
    """A container that is off all its networks while any fault asks for that."""

    def __init__(self, journal: Journal, container: Container) -> None:
        super().__init__(journal)
        self._container = container

    def begin(self) -> None:
        for network in self._container.inspect()["NetworkSettings"]["Networks"].values():
            facts = {"network": network["NetworkID"], "aliases": list(network.get("Aliases") or ())}
            self.note("container-network", name=self._container.name, id=self._container.id, host=where(), **facts)
            self._container.disconnect(network["NetworkID"])

    def set(self, asked: Sequence[Any]) -> None:
        """Taken off by the first, it stays so."""


def disconnected(journal: Journal, container: Container) -> contextlib.AbstractContextManager[Layer[Disconnected]]:
    """Off all its networks for the length of a block."""
    return layer(journal, ("disconnected", container.id), True, lambda: Disconnected(journal, container))


def oom_kills(container: Container, since: float) -> int:
    """How often the kernel has killed for memory in a container since then (seconds of the wall clock)."""
    from chaoskit.services.docker.daemon import ask, client

    def events() -> int:
        chosen = {"container": container.id, "event": "oom"}
        found = client().api.events(since=f"{since:.9f}", until=f"{time.time():.9f}", filters=chosen, decode=True)
        return sum(1 for _ in found)

    return int(ask(f"tell what happened to {container.name}", events))


def addresses_of(name: str, container: Container) -> tuple[list[str], list[str]]:
    """IPv4 addresses on a container's networks: its own, and those of others that answer to the service's ``name``."""
    from chaoskit.services.docker.daemon import ask, client

    def look() -> list[tuple[str, str, list[str]]]:
        api = client().api
        found = []
        for network in api.inspect_container(container.id)["NetworkSettings"]["Networks"].values():
            for one in api.inspect_network(network["NetworkID"])["Containers"]:
                for its in api.inspect_container(one)["NetworkSettings"]["Networks"].values():
                    if its["NetworkID"] == network["NetworkID"]:
                        found.append((one, its["IPAddress"], its.get("Aliases") or []))
        return found

    on_them: list[tuple[str, str, list[str]]] = ask(f"list the networks of {container.name}", look)
    own = [address for one, address, _ in on_them if one == container.id]
    others = [address for one, address, names in on_them if one != container.id and name in names]
    return own, others
