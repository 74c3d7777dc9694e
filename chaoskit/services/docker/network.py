"""The network of one environment: its services find each other there by name, and others' do not."""

from __future__ import annotations

from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker import undo
from chaoskit.services.docker.daemon import ask, client
from chaoskit.system.journal import Journal


class Network:
    """A bridge of the daemon. ``gateway`` is this machine's address on it.

    Ports are published at the gateway and not on loopback: there Docker puts a proxy of its own in between, which
    accepts connections although nobody listens, and passes no reset on.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.id = ""
        self.gateway = ""
        self._journal = journal
        self._entry: int | None = None

    def create(self) -> None:
        """Make it. Raises BrokenError."""
        self._entry = undo.add(self._journal, "network", self.name)

        def make(docker: Any) -> Any:
            made = docker.networks.create(
                self.name, driver="bridge", labels=undo.labels(self._journal), check_duplicate=True
            )
            made.reload()
            return made

        made = ask(f"create the network {self.name}", lambda: make(client()))
        self.id = made.id
        for pool in made.attrs["IPAM"]["Config"]:
            gateway = str(pool.get("Gateway", "")).partition("/")[0]
            if "." in gateway:
                self.gateway = gateway
        if not self.gateway:
            raise BrokenError(f"the network {self.name} has no IPv4 gateway: {made.attrs['IPAM']}")

    def remove(self) -> None:
        """Remove it, and whatever still hangs on it."""
        if self._entry is not None:
            self._journal.undo(self._entry)
            self._entry = None
