"""Two groups of services that do not hear each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from victims import add_process, injected_by_a_killed_run, needs_root, tell

from chaoskit.base.errors import BrokenError
from chaoskit.faults._host_capabilities import cannot_match, lacking
from chaoskit.faults.partition import Partition
from chaoskit.language.run_target import Setting
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext

pytestmark = [
    needs_root,
    pytest.mark.skipif(lacking("iptables") is not None, reason=str(lacking("iptables"))),
]
on_processes = pytest.mark.skipif(cannot_match() is not None, reason=str(cannot_match()))


def reach(service: Service, host: str, port: int, **more: object) -> bool:
    """Whether one victim can talk to another."""
    return tell(service, "talk", host=host, port=port, timeout="0.7", **more)["error"] == ""


@on_processes
def test_processes_do_not_hear_each_other(context: FaultContext) -> None:
    """Directly and by the proxies, in both directions, on open connections too; a third one hears all."""
    left, right, third = (add_process(context, name) for name in ("left", "right", "third"))
    direct, proxied = (right.host, right.port), context.proxied("right")
    assert reach(left, *proxied, keep="1")
    entries = len(context.journal.open_entries())
    with Partition(between=[["left"], ["right"]]).inject(context) as evidence:
        assert not reach(left, *direct)
        assert not reach(left, *proxied)
        assert not reach(left, *proxied, keep="1")
        assert not reach(right, *context.proxied("left"))
        assert reach(third, *proxied)
        assert reach(third, left.host, left.port)
        assert reach(left, third.host, third.port)
    assert reach(left, *direct)
    assert reach(left, *proxied)
    assert reach(right, *context.proxied("left"))
    assert evidence.touched >= 4
    assert len(context.journal.open_entries()) == entries


@on_processes
def test_processes_that_do_not_talk(context: FaultContext) -> None:
    """No packet was dropped: not touched."""
    add_process(context, "left")
    add_process(context, "right")
    with Partition(between=[["left"], ["right"]]).inject(context) as evidence:
        pass
    assert evidence.touched == 0


@on_processes
def test_undone_from_the_journal_alone(context: FaultContext) -> None:
    """Rules and groups of a killed run are gone after the sweep."""
    left, right = (add_process(context, name) for name in ("left", "right"))
    folder = injected_by_a_killed_run(context, "partition", left, right, between=[["left"], ["right"]])
    assert not reach(left, right.host, right.port)
    assert sorted(text.split()[0] for text in sweep(folder)) == ["cgroup", "cgroup", "iptables"]
    assert reach(left, right.host, right.port)


def test_containers_do_not_hear_each_other(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Directly and by what stands before the other under its name; a third one hears all."""
    left = contain("left", port=8000)
    right = contain("right", ["right-itself"], port=8000)
    front = contain("front", ["front", "right"], port=8000)  # answers to right's name, as a proxy does
    third = contain("third", port=8000)
    with Partition(between=[["left"], ["right"]]).inject(context) as evidence:
        assert not reach(left, "right-itself", 8000)
        assert not reach(left, "right", 8000)
        assert not reach(right, "left", 8000)
        assert reach(third, "right", 8000)
        assert reach(third, "left", 8000)
        assert reach(left, "third", 8000)
    for service, name in ((left, "right-itself"), (left, "right"), (right, "left")):
        assert reach(service, name, 8000)
    assert front.alive()
    assert evidence.touched >= 3


def test_not_between_both_worlds(context: FaultContext, contain: Callable[..., Service]) -> None:
    """Containers and processes share no network that could be split."""
    contain("left")
    add_process(context, "right")
    with (
        pytest.raises(BrokenError, match="not between both"),
        Partition(between=[["left"], ["right"]]).inject(context),
    ):
        pass


def test_arguments() -> None:
    """Two groups of known services without a common member."""
    context = {"services": {"a", "b", "c"}}
    fault = Partition.model_validate({"between": [["a"], ["b", "c"]]}, context=context)
    assert fault.target == "a | b, c"
    for wrong, why in (
        ([["a"]], "two groups"),
        ([["a"], []], "two groups"),
        ([["a", "b"], ["b"]], "b cannot be on both sides"),
        ([["a"], ["x"]], "unknown service 'x'"),
    ):
        with pytest.raises(ValidationError, match=why):
            Partition.model_validate({"between": wrong}, context=context)


def test_refused_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both runtimes."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    fault = Partition(between=[["a"], ["b"]])
    assert {fault.refusal(Setting("embedded", runtime)).needs for runtime in ("process", "docker")} == {"root"}
