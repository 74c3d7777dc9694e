"""Packets that are damaged, doubled, late and out of order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.faults import netem
from chaoskit.faults._host_capabilities import lacking
from chaoskit.faults._netfilter import run_in_netns
from chaoskit.faults._qdisc import devices, qdisc, sent
from chaoskit.faults.netem import Netem, strongest
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

emulated = pytest.mark.skipif(lacking("netem") is not None, reason=str(lacking("netem")))

BUCKET = ["rate", "1mbit", "burst", "10kb", "latency", "1s"]
"""A discipline that older kernels have, too."""


@needs_root
@emulated
def test_container_is_delayed(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Each answer waits; afterwards none does, and a killed run is swept."""
    victim = contain()
    with Netem(on="victim", delay="300ms", duplicate="10%").inject(context) as evidence:
        began = now()
        tell(victim, limit=20)
        assert now() - began >= 0.3
    assert evidence.touched > 0
    folder = injected_by_a_killed_run(context, "netem", victim, on="victim", delay="300ms")
    assert [text.split()[0] for text in sweep(folder)] == ["qdisc"]


@needs_root
def test_discipline_on_a_container(context: FaultContext, contain: Callable[..., Service]) -> None:
    """How a discipline is put on, counted and removed, shown with one that older kernels have."""
    if run_in_netns(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", *BUCKET], None).returncode != 0:
        pytest.skip("this kernel has no tbf either")
    victim = contain()
    assert victim.pid is not None
    (device,) = devices(victim.pid)
    with qdisc(context.journal, victim.pid, device, "tbf", BUCKET, lambda asked: list(asked[-1])):
        assert tell(victim)["error"] == ""
        assert sent(victim.pid, device) >= 3
        assert "tbf" in run_in_netns(["tc", "qdisc", "show", "dev", device], victim.pid).stdout
        kind, facts = context.journal.open_entries()[-1]
        assert (kind, facts["discipline"]) == ("qdisc", "tbf")
        other = [word.replace("1mbit", "2mbit") for word in BUCKET]
        with qdisc(context.journal, victim.pid, device, "tbf", other, lambda asked: list(asked[-1])) as both:
            assert "rate 2Mbit" in run_in_netns(["tc", "qdisc", "show", "dev", device], victim.pid).stdout
            assert both.state.sent() >= 3  # what went out before it was made anew counts
        assert "rate 1Mbit" in run_in_netns(["tc", "qdisc", "show", "dev", device], victim.pid).stdout
    assert "tbf" not in run_in_netns(["tc", "qdisc", "show", "dev", device], victim.pid).stdout


def test_words_for_tc() -> None:
    """What was asked for, in milliseconds and percent."""
    fault = Netem(on="victim", delay="50ms", jitter="10ms", corrupt="0.5%", reorder="25%")
    assert " ".join(strongest([fault])) == "delay 50ms 10ms corrupt 0.5% reorder 25%"


def test_strongest_of_several() -> None:
    """Each way by itself."""
    faults = [Netem(on="victim", delay="50ms", loss="2%"), Netem(on="victim", delay="80ms", jitter="5ms", loss="1%")]
    assert " ".join(strongest(faults)) == "delay 80ms 5ms loss 2%"


def test_arguments() -> None:
    """Something to do, and a delay where one is needed."""
    with pytest.raises(ValidationError, match="needs something to do"):
        Netem(on="victim")
    for wrong in ({"reorder": "25%"}, {"jitter": "5ms", "corrupt": "1%"}):
        with pytest.raises(ValidationError, match="need a delay"):
            Netem(on="victim", **wrong)


def test_refused_where_the_kernel_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's reason; on processes always, as they share one loopback."""
    fault = Netem(on="victim", corrupt="1%")
    assert fault.refusal(Setting("embedded", "process")).needs == "docker"
    monkeypatch.setattr(netem, "lacking", lambda *needs: lacking(*[need for need in needs if need != "root"]))
    refusal = fault.refusal(Setting("embedded", "docker"))
    if lacking("netem") is None:
        assert refusal is None
    else:
        assert (refusal.needs, "netem" in refusal.reason) == ("netem", True)


def test_broken_on_a_process(context: FaultContext) -> None:
    """The same for Python tests, which are not refused at load."""
    add_process(context)
    with pytest.raises(BrokenError, match="containers only"), Netem(on="victim", corrupt="1%").inject(context):
        pass
