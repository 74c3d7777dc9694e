"""Take a container off its network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.faults._container import NetworkFault, container_of, disconnected
from chaoskit.faults._host_capabilities import needs_docker
from chaoskit.faults._traffic import counts
from chaoskit.language.fault import Evidence, FaultContext
from chaoskit.language.types import ServiceName

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting


class Disconnect(NetworkFault):
    """Takes a container off its network for the window (``docker network disconnect``), and connects it again.

    Rehearses a pulled cable, a failed switch port, a node that drops out of its cluster. Unlike ``down``, nobody is
    told: established connections fall silent until somebody's time limit ends them, the name cannot be resolved any
    more, and the service itself cannot reach anybody either. Its process runs on and does not know.

    Arguments:

    - ``service``: which one.

    Where several overlap, it is connected again when the last of them ends. What ``netem`` and ``partition`` have set
    on its networks would be lost: their windows may not overlap with this one.

    Containers only: processes of this machine share its network, and ``down`` takes the way to one of them away.

    Evidence counts ``connections``: those that were established when it was cut off (``cut``); if there were none, the
    packets that the kernel could not send meanwhile because there was no way out (``unroutable``). Both at zero: nobody
    talked to it and it talked to nobody. Facts: ``cut``, ``unroutable``, ``seconds``.
    """

    cuts: ClassVar[bool] = True

    service: ServiceName

    @property
    def members(self) -> set[str]:
        """The service."""
        return {self.service}

    @property
    def target(self) -> str:
        """The service."""
        return self.service

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes."""
        return needs_docker(setting, "processes share this machine's network; use down instead")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Disconnect on entering, connect on leaving."""
        service = context.service(self.service)
        container, pid = container_of(service), service.pid
        if container is None:
            raise BrokenError(f"{self.service} is a process of this machine, which has no network of its own: use down")
        evidence = Evidence(unit="connections")
        before = counts(pid) if pid is not None else None
        if pid is None or before is None:
            yield evidence
            return
        began = now()
        with disconnected(context.journal, container):
            try:
                yield evidence
            finally:
                after = counts(pid) or before  # killed meanwhile: what it could not send is not known
                unroutable = after.unroutable - before.unroutable
                seconds = round(now() - began, 3)
                evidence.touched = before.connections or unroutable
                evidence.facts = {"cut": before.connections, "unroutable": unroutable, "seconds": seconds}
