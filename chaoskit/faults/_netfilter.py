"""Rules of iptables in a network namespace, in a chain of our own that is journaled and goes as a whole."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaoskit.base.errors import BrokenError
from chaoskit.system.pids import Pid, identify
from chaoskit.system.undo import Facts, register_kind

if TYPE_CHECKING:
    from chaoskit.system.journal import Journal

_serial = itertools.count(1)

Match = Sequence[str]
"""Words of a rule without its target: ``["-p", "tcp", "--dport", "5432"]``."""


def run_in_netns(argv: Sequence[str], pid: int | None, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a network tool of this machine in the network namespace of a process (None: ours); ``text`` is its input."""
    enter = [] if pid is None else ["nsenter", "-t", str(pid), "-n"]
    try:
        return subprocess.run([*enter, *argv], input=text, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokenError(f"cannot run {argv[0]}: {error}") from error


def _iptables(words: Sequence[str], pid: int | None) -> str:
    done = run_in_netns(["iptables", "-w", "5", *words], pid)
    if done.returncode != 0:
        raise BrokenError(f"iptables {' '.join(words)}: {' '.join(done.stderr.split())}")
    return done.stdout


def _restore(rules: Sequence[str], pid: int | None) -> None:
    """All of them or none."""
    text = "\n".join(["*filter", *rules, "COMMIT", ""])
    done = run_in_netns(["iptables-restore", "-w", "5", "--noflush"], pid, text)
    if done.returncode != 0:
        raise BrokenError(f"iptables-restore: {' '.join(done.stderr.split())}")


def _undo(facts: Facts) -> None:
    holder: Pid | None = None
    if facts["pid"] is not None:
        holder = Pid(facts["pid"], facts["start"])
        if not holder.alive():
            return  # a container's network namespace has gone with it, and the rules with that
    pid = holder.pid if holder else None
    for jump in facts["jumps"]:
        with contextlib.suppress(BrokenError):  # the chain was never made, or the rule is gone
            while True:
                _iptables(["-D", *jump, "-j", facts["chain"]], pid)
    present = run_in_netns(["iptables", "-w", "5", "-n", "-L", facts["chain"]], pid).returncode == 0
    if present:
        _iptables(["-F", facts["chain"]], pid)
        _iptables(["-X", facts["chain"]], pid)


register_kind("iptables", _undo)  # {pid, start (null: our own namespace), chain, jumps}: remove the chain


@dataclass(frozen=True)
class Counted:
    """Packets that came through the chain, and how many of them it dropped."""

    seen: int
    dropped: int


class Chain:
    """A chain that drops what its ``drops`` match, among the packets that ``jumps`` send to it; ``length`` rules.

    ``jumps`` begin with the built-in chain: ``["INPUT", "-i", "lo", …]``. ``holder`` is a process whose network
    namespace is meant; None is our own. Only IPv4: Docker's networks and our loopback addresses are.
    """

    def __init__(self, journal: Journal, holder: int | None, jumps: Sequence[Match], drops: Sequence[Match]) -> None:
        identity = None if holder is None else identify(holder)
        if holder is not None and identity is None:
            raise BrokenError(f"process {holder} is gone, and its network namespace with it")
        self._holder = identity
        self.name = f"CHAOSKIT-{os.getpid()}-{next(_serial)}"
        facts: dict[str, Any] = {"pid": holder, "start": identity.start if identity else None}
        self._journal = journal
        self._entry = journal.add("iptables", chain=self.name, jumps=[list(jump) for jump in jumps], **facts)
        self._counted = Counted(0, 0)
        self.length = len(drops)
        rules = [
            f":{self.name} - [0:0]",
            f"-A {self.name}",  # a rule without a target counts
            *(f"-A {self.name} {' '.join(drop)} -j DROP" for drop in drops),
            *(f"-I {' '.join(jump)} -j {self.name}" for jump in jumps),
        ]
        try:
            _restore(rules, holder)
        except BrokenError:
            self._journal.undo(self._entry)
            raise

    def counted(self) -> Counted:
        """The kernel's counters; the last known ones once the namespace is gone."""
        if self._holder is None or self._holder.alive():
            with contextlib.suppress(BrokenError):
                pid = self._holder.pid if self._holder else None
                lines = _iptables(["-n", "-v", "-x", "-L", self.name], pid).splitlines()[2:]
                seen, *dropped = [int(line.split()[0]) for line in lines]
                self._counted = Counted(seen, sum(dropped))
        return self._counted

    def remove(self) -> None:
        """Let everything through again."""
        self._journal.undo(self._entry)


@contextlib.contextmanager
def chain(journal: Journal, holder: int | None, jumps: Sequence[Match], drops: Sequence[Match]) -> Iterator[Chain]:
    """A chain for the length of a block; read its counters before the end."""
    made = Chain(journal, holder, jumps, drops)
    try:
        yield made
    finally:
        made.remove()


def has_own_network(pid: int) -> bool:
    """True when a process lives in another network namespace than we do. Raises BrokenError if that cannot be seen."""
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    except OSError as error:
        raise BrokenError(f"cannot see the network namespace of process {pid}: {error.strerror}") from error
