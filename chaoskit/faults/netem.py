"""Corrupt, duplicate, delay and reorder the packets of a container."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from chaoskit.errors import BrokenError
from chaoskit.faults._container import container_of
from chaoskit.faults._fields import SomeMillis
from chaoskit.faults._machine import lacking, needs_docker
from chaoskit.faults._qdisc import devices, qdisc, sent
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import Ratio, ServiceName, problem

if TYPE_CHECKING:
    from chaoskit.scenario.setting import Refusal, Setting


class Netem(Fault):
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
    container that is started anew meanwhile has a new, healthy network.

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

    def refusal(self, setting: Setting) -> Refusal | None:
        """On processes, and where the kernel has no netem."""
        hint = "all processes of this machine share one loopback; use latency or packet_loss"
        return needs_docker(setting, hint) or lacking("root", "netem")

    @contextmanager
    def inject(self, world: World) -> Iterator[Evidence]:
        """Put the emulator on the interfaces on entering, remove it on leaving."""
        service = world.service(self.on)
        if container_of(service) is None:
            raise BrokenError(f"netem acts on containers only, and {self.on} is a process of this machine")
        pid, options = service.pid, self.options()
        evidence = Evidence(unit="packets", facts={"netem": " ".join(options), "packets": 0})
        if pid is None:
            yield evidence
            return
        with contextlib.ExitStack() as stack:
            interfaces = devices(pid)
            for device in interfaces:
                stack.enter_context(qdisc(world.journal, pid, device, "netem", *options))
            try:
                yield evidence
            finally:
                packets = sum(sent(pid, device) for device in interfaces)
                evidence.facts["packets"] = packets
                share = 1.0 if self.delay else max(self.corrupt, self.duplicate, self.loss)
                evidence.touched = packets if packets * share >= 1 else 0

    def options(self) -> list[str]:
        """The emulator's words for tc."""
        words: list[str] = []
        if self.delay:
            words += ["delay", f"{self.delay * 1000:g}ms"]
            words += [f"{self.jitter * 1000:g}ms"] if self.jitter else []
        for name in ("loss", "corrupt", "duplicate", "reorder"):
            share = getattr(self, name)
            words += [name, f"{share * 100:g}%"] if share else []
        return words
