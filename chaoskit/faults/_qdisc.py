"""A queueing discipline (tc) on the network interfaces of a container, journaled and removed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError
from chaoskit.faults._netfilter import run_in_netns
from chaoskit.system.layers import Layer, State, layer
from chaoskit.system.pids import Pid, identify
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal


def _undo(facts: Facts) -> None:
    holder = Pid(facts["pid"], facts["start"])
    if holder.alive() and _present(holder, facts["device"], facts["discipline"]):
        _tc(["qdisc", "del", "dev", facts["device"], "root"], holder.pid)


register_kind("qdisc", _undo)  # {pid, start, device, discipline}: remove the discipline


def _tc(words: Sequence[str], pid: int) -> str:
    done = run_in_netns(["tc", *words], pid)
    if done.returncode != 0:
        raise BrokenError(f"tc {' '.join(words)}: {' '.join(done.stderr.split())}")
    return done.stdout


def _present(holder: Pid, device: str, kind: str) -> bool:
    return f"qdisc {kind} " in _tc(["qdisc", "show", "dev", device], holder.pid)


def devices(pid: int) -> list[str]:
    """The network interfaces of a process's namespace, without loopback."""
    done = run_in_netns(["ip", "-json", "link", "show", "up"], pid)
    if done.returncode != 0:
        raise BrokenError(f"cannot list the network interfaces: {' '.join(done.stderr.split())}")
    return [link["ifname"] for link in json.loads(done.stdout or "[]") if link.get("ifname", "lo") != "lo"]


def sent(pid: int, device: str) -> int:
    """Packets that an interface's discipline has let out so far; 0 once the namespace is gone."""
    with contextlib.suppress(BrokenError):
        words = _tc(["-s", "qdisc", "show", "dev", device], pid).split()
        return int(words[words.index("bytes") + 1])  # Sent 1234 bytes 12 pkt (dropped 0, …
    return 0


class Discipline(State):
    """The root discipline of an interface. ``words`` makes tc's words of what is asked; ``sent`` counts its packets."""

    def __init__(
        self, journal: Journal, holder: Pid, device: str, kind: str, words: Callable[[Sequence[Any]], list[str]]
    ) -> None:
        super().__init__(journal)
        self._holder = holder
        self._device = device
        self._kind = kind
        self._words = words
        self._on: list[str] | None = None
        self._sent = 0

    def begin(self) -> None:
        facts: Facts = {"pid": self._holder.pid, "start": self._holder.start}
        self.note("qdisc", **facts, device=self._device, discipline=self._kind)

    def set(self, asked: Sequence[Any]) -> None:
        words = self._words(asked)
        if words == self._on or not self._holder.alive():
            return
        if self._on is not None:  # what is not named is kept when one is changed, so it is made anew
            self._sent = self.sent()
            _tc(["qdisc", "del", "dev", self._device, "root"], self._holder.pid)
        self._on = words
        _tc(["qdisc", "add", "dev", self._device, "root", self._kind, *words], self._holder.pid)

    def sent(self) -> int:
        """Packets that it has let out since the first fault began."""
        return self._sent + sent(self._holder.pid, self._device)


def qdisc(
    journal: Journal, pid: int, device: str, kind: str, ask: Any, words: Callable[[Sequence[Any]], list[str]]
) -> AbstractContextManager[Layer[Discipline]]:
    """A discipline as the root of an interface for the length of a block."""
    holder = identify(pid)
    if holder is None:
        raise BrokenError(f"process {pid} is gone, and its network namespace with it")
    return layer(journal, ("qdisc", holder, device), ask, lambda: Discipline(journal, holder, device, kind, words))
