"""Corrupt, duplicate, delay and reorder the packets of a container."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from chaoskit.base.errors import BrokenError
from chaoskit.faults._container import NetworkFault, container_of
from chaoskit.faults._fields import SomeMillis
from chaoskit.faults._host_capabilities import lacking, needs_docker
from chaoskit.faults._qdisc import Discipline, devices, qdisc
from chaoskit.language.fault import Evidence, FaultContext
from chaoskit.language.types import Ratio, ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.language.run_target import Refusal, Setting


class Netem(NetworkFault):
    """Treats the packets that a container sends as a bad network does (the kernel's network emulator, netem).

    Rehearses what only shows below TCP: packets that arrive damaged, twice, late or in the wrong order. TCP repairs
    them at the price of time; protocols on UDP see them as they are.

    Arguments:

    - ``on``: the service whose outgoing packets are treated, on all its interfaces, in at least one of these ways.
    - ``corrupt``: which share of the packets is damaged (one bit).
    - ``duplicate``: which share is sent twice.
    - ``loss``: which share is dropped.
    - ``delay``: how long each packet waits.
    - ``jitter``: by how much that varies; needs ``delay``.
    - ``reorder``: which share is sent at once while the others wait; needs ``delay``.

    Containers only: all processes of this machine share one loopback. Needs root, tc, and a kernel with netem. A
    container that is started anew meanwhile has a new, healthy network. Where several overlap, the strongest of each
    way counts.

    Evidence counts the ``packets`` that went through the emulator, if at least one of them must have been treated:
    0 where fewer went through than it takes for one on average.
    """

    on: ServiceName
    corrupt: Ratio = 0.0
    duplicate: Ratio = 0.0
    loss: Ratio = 0.0
    reorder: Ratio = 0.0
    delay: SomeMillis | None = None
    jitter: SomeMillis | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any((self.corrupt, self.duplicate, self.loss, self.reorder, self.delay)):
            raise problem("netem needs something to do", ["corrupt: 1%", "duplicate: 1%", "delay: 50ms"])
        if (self.reorder or self.jitter) and not self.delay:
            raise problem("reorder and jitter need a delay: packets that do not wait overtake nobody", ["delay: 50ms"])
        return self

    @property
    def target(self) -> str:
        """The service."""
        return self.on

    @property
    def members(self) -> set[str]:
        """The service."""
        return {self.on}

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes, and where the kernel has no netem."""
        hint = "all processes of this machine share one loopback; use latency or packet_loss"
        return needs_docker(setting, hint) or lacking("root", "netem")

    @contextmanager
    def inject(self, context: FaultContext) -> Iterator[Evidence]:
        """Put the emulator on the interfaces on entering, remove it on leaving."""
        service = context.service(self.on)
        if container_of(service) is None:
            raise BrokenError(f"netem acts on containers only, and {self.on} is a process of this machine")
        pid, options = service.pid, strongest([self])
        evidence = Evidence(unit="packets", facts={"netem": " ".join(options), "packets": 0})
        if pid is None:
            yield evidence
            return
        with contextlib.ExitStack() as stack:
            made: list[Discipline] = []
            for device in devices(pid):
                made.append(stack.enter_context(qdisc(context.journal, pid, device, "netem", self, strongest)).state)
            before = sum(discipline.sent() for discipline in made)
            try:
                yield evidence
            finally:
                packets = sum(discipline.sent() for discipline in made) - before
                evidence.facts["packets"] = packets
                share = 1.0 if self.delay else max(self.corrupt, self.duplicate, self.loss)
                evidence.touched = packets if packets * share >= 1 else 0


def strongest(faults: Sequence[Netem]) -> list[str]:
    """The emulator's words for tc, of what the strongest of several faults asks for in each way."""

    def most(name: str) -> float:
        return max(getattr(fault, name) or 0.0 for fault in faults)

    words: list[str] = []
    if delay := most("delay"):
        words += ["delay", f"{delay * 1000:g}ms"]
        words += [f"{jitter * 1000:g}ms"] if (jitter := most("jitter")) else []
    for name in ("loss", "corrupt", "duplicate", "reorder"):
        words += [name, f"{share * 100:g}%"] if (share := most(name)) else []
    return words
