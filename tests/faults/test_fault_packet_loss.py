"""Packets of a service that are lost in the kernel."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psutil
import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults.packet_loss import PacketLoss
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

pytestmark = [
    needs_root,
    pytest.mark.skipif(lacking("iptables") is not None, reason=str(lacking("iptables"))),
]


def rules(pid: int | None = None) -> list[str]:
    """Our rules in the network namespace of a process."""
    enter = [] if pid is None else ["nsenter", "-t", str(pid), "-n"]
    done = subprocess.run([*enter, "iptables-save"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "CHAOSKIT" in line]


def times_out(service: Service) -> bool:
    try:
        tell(service, limit=0.5)
    except TimeoutError:
        return True
    return False


def quiet(service: Service) -> bool:
    """No connection of its port is open, or on its way to be closed."""
    states = [it.status for it in psutil.net_connections("tcp") if service.port in (it.laddr or (0, 0))[1:]]
    return set(states) <= {psutil.CONN_LISTEN, psutil.CONN_TIME_WAIT}


def test_process_loses_all(context: FaultContext) -> None:
    """Nobody gets through to it, directly or by its proxy; afterwards everybody does, and no rule is left."""
    victim, other = add_process(context), add_process(context, "other")
    before = rules()
    with PacketLoss(on="victim", loss="100%").inject(context) as evidence:
        assert times_out(victim)
        assert tell(other)["error"] == ""
    assert tell(victim)["error"] == ""
    assert evidence.touched == evidence.facts["packets"] > 0
    assert rules() == before


@contextlib.contextmanager
def datagrams(service: Service) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Somebody who listens for datagrams at the service's port, and somebody who talks to it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine,
    ):
        theirs.bind((service.host, service.port))
        mine.bind((service.host, 0))
        theirs.settimeout(0.3)
        mine.settimeout(0.3)
        yield theirs, mine


def test_process_loses_some(context: FaultContext) -> None:
    """The share that was asked for is lost, and the rest arrives, also where it is not TCP."""
    victim, arrived = add_process(context), 0
    wait_for(lambda: quiet(victim), what="the readiness check's connections to end", limit=10)
    with datagrams(victim) as (theirs, mine), PacketLoss(on="victim", loss="20%").inject(context) as evidence:
        for _ in range(10):
            for _ in range(50):
                mine.sendto(b"hello", theirs.getsockname())
            with contextlib.suppress(TimeoutError):
                while theirs.recv(16):
                    arrived += 1
    assert evidence.facts["packets"] == 500
    assert evidence.touched == 500 - arrived
    assert 50 < evidence.touched < 150


def test_one_direction(context: FaultContext) -> None:
    """What it sends is lost, what it gets arrives."""
    with (
        datagrams(add_process(context)) as (theirs, mine),
        PacketLoss(on="victim", loss="100%", direction="downstream").inject(context) as evidence,
    ):
        mine.sendto(b"hello", theirs.getsockname())
        assert theirs.recv(16) == b"hello"
        theirs.sendto(b"hello", mine.getsockname())
        with pytest.raises(TimeoutError):
            mine.recv(16)
    assert (evidence.touched, evidence.facts["packets"]) == (1, 1)


def test_nobody_talks_to_it(context: FaultContext) -> None:
    """No packet, no evidence."""
    victim = add_process(context)
    wait_for(lambda: quiet(victim), what="the readiness check's connections to end", limit=10)
    with PacketLoss(on="victim", loss="100%").inject(context) as evidence:
        pass
    assert evidence.touched == 0


def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """The rules of a killed run are removed by the sweep; twice is once."""
    victim = add_process(context)
    before = rules()
    folder = injected_by_a_killed_run(context, "packet_loss", victim, on="victim", loss="100%")
    assert times_out(victim)
    assert [text.split()[0] for text in sweep(folder)] == ["iptables"]
    assert tell(victim)["error"] == ""
    assert rules() == before


def test_container_loses_all(context: FaultContext, contain: Callable[..., Service]) -> None:
    """In its own network: this machine's rules stay as they are, and a killed run is swept."""
    victim = contain()
    before = rules()
    with PacketLoss(on="victim", loss="100%").inject(context) as evidence:
        assert times_out(victim)
        assert rules() == before
    assert tell(victim)["error"] == ""
    assert evidence.touched > 0
    folder = injected_by_a_killed_run(context, "packet_loss", victim, on="victim", loss="100%")
    assert rules(victim.pid)
    assert [text.split()[0] for text in sweep(folder)] == ["iptables"]
    assert tell(victim)["error"] == ""


def test_container_that_dies_meanwhile(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Its network has gone with it: nothing to cure, and the last counters count."""
    victim = contain()
    with PacketLoss(on="victim", loss="100%").inject(context):
        victim.kill()
    victim.start()
    assert tell(victim)["error"] == ""


def test_a_rule_that_iptables_refuses(context: FaultContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken, with its words; all or nothing is left behind."""
    add_process(context)
    before = rules()
    monkeypatch.setattr(PacketLoss, "_port", lambda self, service: [["INPUT", "--nonsense"]])
    with pytest.raises(BrokenError, match="nonsense"), PacketLoss(on="victim", loss="1%").inject(context):
        pass
    assert rules() == before


def test_arguments() -> None:
    """A share of the packets that is more than none."""
    assert PacketLoss(on="victim", loss="5%").target == "victim"
    with pytest.raises(ValidationError, match="touches nothing"):
        PacketLoss(on="victim", loss="0%")
    assert PacketLoss(on="victim", loss="5%").refusal(Setting("embedded", "process")) is None


def test_refused_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """And told so."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refusal = PacketLoss(on="victim", loss="5%").refusal(Setting("embedded", "docker"))
    assert (refusal.needs, "root" in refusal.reason) == ("root", True)
