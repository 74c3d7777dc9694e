"""Faults that overlap: after each end the state is what the others ask for, and at the end what it was before."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from victims import add_process, killed_after, tell

from chaoskit.base.clock import wait_for
from chaoskit.faults._cgroup import group_of
from chaoskit.faults._host_capabilities import cannot_match, lacking
from chaoskit.faults._mounts import is_full
from chaoskit.language.fault import FAULTS, Evidence, Fault
from chaoskit.system.journal import sweep

if TYPE_CHECKING:
    from chaoskit.services.base import Service
    from tests.faults.conftest import FaultContext, Step

MB = 1_000_000


def make(kind: str, **arguments: Any) -> Fault:
    fault: Fault = FAULTS.get(kind).model_validate(arguments)
    return fault


@dataclass
class Active:
    """A fault that is active, and the worker's process when it began."""

    kind: str
    arguments: dict[str, Any]
    fault: Fault
    born: int | None
    context: AbstractContextManager[Evidence]
    evidence: Evidence


class Scene:
    """A worker that all kinds of faults act on, and a peer beside it."""

    def __init__(self, context: FaultContext) -> None:
        self.context = context
        self.folder = context.folder / "work"
        (self.folder / "data").mkdir(parents=True)
        self.worker = context.add_worker(cwd=str(self.folder))
        self.peer = add_process(context, "peer")
        self.active: list[Active] = []
        self.before = {name: kind.seen(self) for name, kind in KINDS.items()}
        self.entries = sorted(kind for kind, _ in context.journal.open_entries())

    @property
    def pid(self) -> int | None:
        return self.worker.pid

    def of(self, *kinds: str) -> list[Active]:
        """Those of these kinds that are active, the latest begun last."""
        return [active for active in self.active if active.kind in kinds]

    def begin(self, kind: str, arguments: dict[str, Any]) -> bool:
        """Begin a fault, unless it does not compose with what is active."""
        fault = make(kind, **arguments)
        if any(active.fault.clash(fault) for active in self.active):
            return False
        context = fault.inject(self.context)
        born = self.pid
        evidence = context.__enter__()
        if kind == "restart":  # it goes on beside the window
            wait_for(lambda: "new_pid" in evidence.facts, what="the restart", limit=20)
        self.active.append(Active(kind, arguments, fault, born, context, evidence))
        return True

    def end(self, active: Active) -> None:
        self.active.remove(active)
        active.context.__exit__(None, None, None)

    def check(self, told: str) -> None:
        """Every piece of state is what the active faults ask for."""
        for name, kind in KINDS.items():
            wanted = kind.wanted(self)
            if wanted is ANY:
                continue
            try:
                wait_for(lambda k=kind, w=wanted: k.seen(self) == w or None, what=name, limit=10.0)
            except Exception as error:
                raise AssertionError(f"{told}: {name} is {kind.seen(self)}, not {wanted}") from error


ANY = object()
"""What a piece of state is where nobody can tell."""


@dataclass
class Kind:
    """One piece of state: faults that change it, what it is, and what the active ones ask for."""

    faults: Sequence[tuple[str, dict[str, Any]]]
    seen: Callable[[Scene], Any]
    wanted: Callable[[Scene], Any]


def _proxy(scene: Scene) -> dict[str, Any]:
    url, name = scene.context.toxiproxy.places("worker")[0]
    with urllib.request.urlopen(f"{url}/proxies/{name}", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _refused(scene: Scene) -> bool:
    try:
        socket.create_connection(scene.context.proxied("worker"), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def _stands_still(scene: Scene) -> bool:
    if scene.pid is None:
        return False
    return Path(f"/proc/{scene.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _limit(scene: Scene, controller: Any, *files: str) -> int | None:
    """What a group of ours allows the worker; None where it is in none of ours, or without a limit."""
    group = group_of(scene.pid, controller) if scene.pid is not None else None
    if group is None or "chaoskit-" not in group.name:
        return None
    for file in files:
        if (group / file).exists():
            text = (group / file).read_text().split()[0]
            return None if text in ("max", "-1") or int(text) > 1 << 50 else int(text)
    return None


def _marked(scene: Scene) -> bool:
    group = group_of(scene.pid, "unified") if scene.pid is not None else None
    return group is not None and "chaoskit-" in group.name


def _chains(scene: Scene) -> int:
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return len(re.findall(rf"^:CHAOSKIT-{os.getpid()}-\d+", saved, re.MULTILINE))


def _faketime(scene: Scene) -> str | None:
    if scene.pid is None:
        return None
    variables = Path(f"/proc/{scene.pid}/environ").read_bytes().decode().split("\0")
    return dict(line.partition("=")[::2] for line in variables).get("FAKETIME")


def _terms(scene: Scene) -> str:
    return scene.context.failpoints("worker").list()["orders/place"]


def _same_process(scene: Scene, *kinds: str) -> list[Active]:
    return [active for active in scene.of(*kinds) if active.born is not None and active.born == scene.pid]


def _wanted_terms(scene: Scene) -> Any:
    if not scene.worker.alive() or _stands_still(scene):
        return ANY
    here = scene.of("sleep", "panic")
    return here[-1].fault.chain() if here else ""


def _wanted_memory(scene: Scene) -> int | None:
    if not _same_process(scene, "oom"):
        return None
    lowest = min(active.fault.headroom for active in scene.of("oom"))
    return int(lowest) // 4096 * 4096


def _wanted_files(scene: Scene) -> int | None:
    if scene.pid is None:
        return None
    return min([scene.before["files"], *(active.fault.limit for active in _same_process(scene, "open_files"))])


def _wanted_toxics(scene: Scene) -> list[str]:
    delays = [f"latency {round(active.fault.delay * 1000)}" for active in scene.of("latency")]
    return sorted([*delays, *("timeout 0" for _ in scene.of("timeout"))])


on_worker: dict[str, Any] = {"service": "worker"}

KINDS: dict[str, Kind] = {
    "door": Kind([("down", {"on": "worker"})], _refused, lambda scene: bool(scene.of("down"))),
    "toxics": Kind(
        [
            ("latency", {"on": "worker", "delay": "10ms"}),
            ("latency", {"on": "worker", "delay": "20ms"}),
            ("timeout", {"on": "worker"}),
        ],
        lambda scene: sorted(
            f"{toxic['type']} {toxic['attributes'].get('latency', 0)}" for toxic in _proxy(scene)["toxics"]
        ),
        _wanted_toxics,
    ),
    "pause": Kind(
        [("pause", on_worker)], _stands_still, lambda scene: bool(scene.pid and _same_process(scene, "pause"))
    ),
    "files": Kind(
        [("open_files", {**on_worker, "limit": number}) for number in (100, 200, 300)],
        lambda scene: resource.prlimit(scene.pid, resource.RLIMIT_NOFILE)[0] if scene.pid else None,
        _wanted_files,
    ),
    "failpoint": Kind(
        [
            ("sleep", {**on_worker, "at": "orders/place", "delay": "10ms"}),
            ("sleep", {**on_worker, "at": "orders/place", "delay": "20ms", "times": 3}),
            ("panic", {**on_worker, "at": "orders/place", "share": "50%"}),
        ],
        _terms,
        _wanted_terms,
    ),
    "life": Kind([("stop", on_worker)], lambda scene: scene.worker.alive(), lambda scene: not scene.of("stop")),
    "restarts": Kind([("restart", on_worker)], lambda scene: None, lambda scene: None),
}
if lacking("faketime") is None:
    KINDS["clock"] = Kind(
        [("clock", {**on_worker, "ahead": "1h"}), ("clock", {**on_worker, "behind": "2h"})],
        _faketime,
        lambda scene: (
            None if scene.of("stop") or not scene.of("clock") else f"{scene.of('clock')[-1].fault._offset:+.6f}"
        ),
    )
if lacking("root", "cgroups") is None:
    KINDS["cpu"] = Kind(
        [("cpu", {**on_worker, "quota": quota}) for quota in ("80%", "90%", "95%")],
        lambda scene: _limit(scene, "cpu", "cpu.max", "cpu.cfs_quota_us"),
        lambda scene: (
            min((round(active.fault.quota * 100_000) for active in scene.of("cpu")), default=None)
            if scene.pid
            else None
        ),
    )
    KINDS["memory"] = Kind(
        [("oom", {**on_worker, "headroom": size}) for size in ("300MB", "400MB")],
        lambda scene: _limit(scene, "memory", "memory.max", "memory.limit_in_bytes"),
        _wanted_memory,
    )
if lacking("root") is None:
    KINDS["disk"] = Kind(
        [("disk_full", {**on_worker, "path": "data"})],
        lambda scene: is_full(scene.folder / "data" / "probe"),
        lambda scene: bool([active for active in scene.of("disk_full") if active.born]),
    )
if lacking("root", "iptables") is None and cannot_match() is None:
    KINDS["rules"] = Kind(
        [("packet_loss", {"on": "worker", "loss": "1%"}), ("partition", {"between": [["worker"], ["peer"]]})],
        _chains,
        lambda scene: (
            scene.before["rules"]
            + len([active for active in scene.of("packet_loss") if active.born])
            + len(scene.of("partition"))
        ),
    )
    KINDS["mark"] = Kind([], _marked, lambda scene: bool(scene.pid and _same_process(scene, "partition")))

ALL = [fault for kind in KINDS.values() for fault in kind.faults]


def may_begin(scene: Scene, kind: str) -> bool:
    """What stands still cannot be told of failpoints."""
    return not (kind in ("sleep", "panic") and scene.of("pause"))


def may_end(scene: Scene, active: Active) -> bool:
    return not (active.kind in ("sleep", "panic") and scene.of("pause"))


@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOSKIT_OVERLAPS", "3"))))
def test_random_windows(context: FaultContext, seed: int) -> None:
    """Faults of every kind begin and end in any order."""
    dice = random.Random(seed)
    scene = Scene(context)
    told: list[str] = []
    for _ in range(14):
        ending = [active for active in scene.active if may_end(scene, active)]
        if ending and dice.random() < len(scene.active) / 8:
            active = dice.choice(ending)
            told.append(f"-{active.kind}")
            scene.end(active)
        else:
            # Of those on one piece of state more than chance would give: that is where they meet.
            kinds = dice.choice(list(KINDS.values())).faults if dice.random() < 0.5 else ALL
            kind, arguments = dice.choice(kinds or ALL)
            if not may_begin(scene, kind) or not scene.begin(kind, arguments):
                continue
            told.append(f"+{kind} {arguments}")
        scene.check(f"seed {seed}, after {told}")
    for active in sorted(scene.active, key=lambda active: (active.kind != "pause", dice.random())):
        told.append(f"-{active.kind}")
        scene.end(active)
        scene.check(f"seed {seed}, after {told}")
    assert {name: kind.seen(scene) for name, kind in KINDS.items()} == scene.before
    assert sorted(kind for kind, _ in context.journal.open_entries()) == scene.entries
    assert tell(scene.worker)["pid"] == scene.worker.pid


ONE_STATE = [
    *(kind.faults for kind in KINDS.values()),
    [fault for name in ("life", "restarts", "clock") if name in KINDS for fault in KINDS[name].faults],
]
PAIRS = [
    pair for faults in ONE_STATE for pair in combinations_with_replacement(faults, 2)
    if not make(pair[0][0], **pair[0][1]).clash(make(pair[1][0], **pair[1][1]))
]  # fmt: skip


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_each_pair_on_one_piece_of_state(context: FaultContext, first_ends_first: bool) -> None:
    """Every two kinds that change the same, in both orders."""
    scene = Scene(context)
    for first, second in PAIRS:
        for one, other in ((first, second), (second, first)):
            told = f"{one}, {other}, the {'first' if first_ends_first else 'second'} ends first"
            if make(one[0], **one[1]).clash(make(other[0], **other[1])):
                continue
            for fault in (one, other):
                assert scene.begin(*fault)
                scene.check(f"{told}: begun")
            for active in list(scene.active) if first_ends_first else scene.active[::-1]:
                scene.end(active)
                scene.check(f"{told}: ended")
    assert sorted(kind for kind, _ in context.journal.open_entries()) == scene.entries


LASTING = ("door", "files", "failpoint", "cpu", "memory", "disk", "rules")
"""What a run that was killed leaves; toxics have their own time to live, processes end with their run."""


@pytest.mark.parametrize("seed", range(3))
def test_whole_again_after_sigkill(context: FaultContext, seed: int) -> None:
    """A run is killed while several overlap: from its journal alone all comes back."""
    dice = random.Random(seed)
    scene = Scene(context)
    steps: list[Step] = []
    faults = [fault for name in LASTING if name in KINDS for fault in KINDS[name].faults]
    for number, (kind, arguments) in enumerate(dice.sample(faults, len(faults))):
        steps.append((number, kind, arguments))
    steps += dice.sample(steps, len(steps) // 2)
    folder = killed_after(context, steps, scene.worker, scene.peer)
    assert {name for name in LASTING if name in KINDS and KINDS[name].seen(scene) != scene.before[name]} != set()
    assert not [line for line in sweep(folder) if "could not be undone" in line]
    assert {name: kind.seen(scene) for name, kind in KINDS.items()} == scene.before


def test_containers(context: FaultContext, contain: Callable[..., Service]) -> None:
    """By way of the daemon: the lowest quota, and off the network until the last window ends."""
    victim = contain()

    def seen() -> tuple[int, int]:
        facts = victim.container.inspect()
        return facts["HostConfig"]["CpuQuota"], len(facts["NetworkSettings"]["Networks"])

    low, high = ExitStack(), ExitStack()
    for quota, stack in (("60%", low), ("80%", high)):
        stack.enter_context(make("cpu", service="victim", quota=quota).inject(context))
        stack.enter_context(make("disconnect", service="victim").inject(context))
        assert seen() == (60_000, 0)
    low.close()
    assert seen() == (80_000, 0)
    high.close()
    assert seen() == (-1, 1)
    assert tell(victim)["error"] == ""
