"""Everything that lives as long as one pytest run: the run's folder, the journal, the worker, the environments."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import random
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chaoskit
from chaoskit.alerting.sops.queue import sweep_queues
from chaoskit.clock import now
from chaoskit.engine.alerting import alerting_of
from chaoskit.engine.environment import LiveEnvironment, discard
from chaoskit.engine.interposer import resolve
from chaoskit.engine.judge import judge
from chaoskit.engine.others import refuse_another
from chaoskit.engine.platform import Platform, ProcessPlatform
from chaoskit.engine.run import OnProgress, Run
from chaoskit.engine.verdict import ControlVerdict, Verdict, judge_control
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.guardian import start_guardian
from chaoskit.history.store import History, load
from chaoskit.journal import Journal
from chaoskit.scenario.compose import copies
from chaoskit.scenario.loader import changed
from chaoskit.scenario.loader import load as load_scenarios
from chaoskit.scenario.model import Environment, Scenario
from chaoskit.scenario.reach import outside, outside_of, refuse_docker_host, refuse_outside
from chaoskit.scenario.setting import runtime_of
from chaoskit.scenario.sop import copies as sop_copies
from chaoskit.scenario.source import as_yaml
from chaoskit.sweep import state_folder, sweep
from chaoskit.traffic.generator import TrafficGenerator

META = "run.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What one scenario left: its folder, its history, and what was judged. ``wall`` is seconds in all."""

    scenario: Scenario
    folder: Path
    history: History
    verdict: Verdict
    control: ControlVerdict | None
    wall: float
    seed: int


class Session:
    """Runs scenarios one after the other; environments are started once and kept until :meth:`close`.

    ``toxiproxy`` is ``auto``, ``embedded``, ``binary`` or a URL, ``runtime`` is ``auto``, ``process`` or ``docker``.
    ``alerting`` is ``auto``, ``embedded`` or ``prometheus``.
    ``reports`` is the folder for all output. What dead runs left behind is swept first, and told in ``swept``.
    ``allow`` are the hosts beyond loopback that may be touched, ``note`` is told what takes its time (an image that
    is pulled).
    """

    def __init__(
        self,
        reports: Path,
        *,
        seed: int | None = None,
        label: str = "",
        toxiproxy: str = "embedded",
        runtime: str = "auto",
        alerting: str = "auto",
        allow: Collection[str] = (),
        note: Callable[[str], None] = _log.info,
    ) -> None:
        self.seed = seed if seed is not None else random.SystemRandom().randrange(2**31)
        self.allow = allow
        self._asked = toxiproxy
        self.toxiproxy = resolve(toxiproxy, allow, runtime)
        self.runtime = runtime
        self.alerting = alerting
        self.note = note
        self.runs = reports / "runs"
        self.runs.mkdir(parents=True, exist_ok=True)
        self.swept: Sequence[str] = [*sweep(self.runs, state_folder()), *sweep_queues(self.runs)]
        self.id = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), str(os.getpid()), label)))
        self.folder = self.runs / self.id
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.folder / "undo.journal", run_id=self.id, twice=True)
        self._guardian = start_guardian(self.journal)
        self._generator: TrafficGenerator | None = None
        self._environments: dict[tuple[str, Path], LiveEnvironment] = {}
        self._broken: dict[tuple[str, Path], str] = {}
        self._closed = False
        atexit.register(self.close)

    def run(
        self,
        scenario: Scenario,
        *,
        control: bool = False,
        on_progress: OnProgress | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Result:
        """Run a scenario, or its control, and judge it. Never raises for what the service did.

        ``meta`` is what the caller adds to ``run.json``: ``nodeid`` and ``reproduce``.

        Raises InputError for a scenario that names a host beyond the blast radius.
        """
        refuse_outside(outside(scenario, self.allow))
        began = now()
        folder = self.new_folder(scenario.slug + ("--control" if control else ""))
        history = History(folder)
        meta = {**self._describe(scenario, folder, control), **(meta or {})}
        broken: str | None = "the run was interrupted"
        reason = ""
        # Written first, so that what is left of a run that was killed can be judged too.
        _write(folder / META, {**meta, "broken": broken})
        try:
            changes = [scenario.model.with_]
            if control and scenario.model.control is not None:
                changes.append(scenario.model.control.with_)
            live, generator = self.open(scenario.environment, fresh=scenario.model.isolation == "fresh")
            cold = live.prepare(changed(scenario.environment, *changes))
            without = scenario.model.control.without if control and scenario.model.control is not None else None
            meta.update(prepared=now() - began, **live.describe())
            try:
                Run(
                    scenario, live, generator, history, seed=self.seed, cold=cold, sops=without != "sops",
                    on_progress=on_progress,
                ).execute()  # fmt: skip
            except BrokenError as error:
                reason = str(error)
                raise
            finally:
                live.heal()
            broken = None
        except BrokenError as error:
            broken = reason or str(error)  # healing what is broken fails too, and is not why
        finally:
            history.close()
            meta.update(broken=broken, wall=now() - began)
            _write(folder / META, meta)
        verdict = judge(scenario, history, broken)
        if broken or verdict.recovery is None:
            self.taint(scenario.environment)
        judged = judge_control(verdict, scenario.model.control.violates) if control and scenario.model.control else None
        _write(folder / "verdict.json", {**verdict.as_dict(), **({"control": judged.as_dict()} if judged else {})})
        return Result(scenario, folder, history, verdict, judged, meta["wall"], self.seed)

    def close(self) -> None:
        """End everything that was started. May be called again; also called at exit."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.ExitStack() as stack:
            stack.callback(self.journal.close)
            stack.callback(self._guardian.terminate, 1.0)
            stack.callback(self.journal.undo_all)
            if self._generator is not None:
                stack.callback(self._generator.close)
            for live in self._environments.values():
                stack.callback(live.stop)

    # Inside

    def _traffic(self) -> TrafficGenerator:
        if self._generator is not None and not self._generator.alive():
            self._generator.close()
            self._generator = None
        if self._generator is None:
            self._generator = TrafficGenerator(discard)
            self._generator.start()
        return self._generator

    def open(self, environment: Environment, *, fresh: bool = False) -> tuple[LiveEnvironment, TrafficGenerator]:
        """The running environment and the traffic worker. One that could not be started is not tried again.

        Raises BrokenError, and InputError for an environment that names a host beyond the blast radius.
        """
        refuse_outside(outside_of(environment, self.allow))
        key = (environment.name, environment.source.file)
        if key in self._broken:
            raise BrokenError(f"environment {environment.name} could not be started before: {self._broken[key]}")
        if fresh and key in self._environments:
            self._environments.pop(key).stop()
        generator = self._traffic()
        if key not in self._environments:
            index = sum(1 for _ in self.folder.glob("environment-*"))
            folder = self.folder / f"environment-{index}-{environment.name}"
            alerting = alerting_of(environment, self.alerting, runtime_of(environment, self.runtime))
            platform = self._platform(environment, folder)
            live = LiveEnvironment(environment, folder, self.journal, generator, platform, alerting, allow=self.allow)
            try:
                live.start()
            except ChaosError as error:
                self._broken[key] = str(error)
                live.stop()
                raise
            except BaseException:
                live.stop()
                raise
            self._environments[key] = live
        return self._environments[key], generator

    def _platform(self, environment: Environment, folder: Path) -> Platform:
        if runtime_of(environment, self.runtime) == "process":
            if self.toxiproxy == "docker":
                refuse_docker_host(self.allow)
            return ProcessPlatform(self.toxiproxy, folder, self.journal, self.seed)
        refuse_docker_host(self.allow)
        from chaoskit.engine.docker.platform import DockerPlatform

        toxiproxy = resolve(self._asked, self.allow, "docker")
        name = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"chaoskit-{self.id}-{folder.name}")
        if environment.compose:
            from chaoskit.engine.docker.compose import ComposePlatform

            return ComposePlatform(environment, folder, toxiproxy, name, self.journal, self.note, self.seed)
        return DockerPlatform(toxiproxy, name, self.journal, self.note, self.seed)

    def taint(self, environment: Environment) -> None:
        """Have the services of an environment started anew before the next scenario: this one left them ill."""
        live = self._environments.get((environment.name, environment.source.file))
        if live is not None:
            live.tainted = True

    def new_folder(self, name: str) -> Path:
        """A folder of this run for one scenario; numbered when the name is taken."""
        folder, number = self.folder / name, 1
        while folder.exists():
            number += 1
            folder = self.folder / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder

    def _describe(self, scenario: Scenario, folder: Path, control: bool) -> dict[str, Any]:
        """Copy what is needed to judge this run again, wherever the scenario's file may go."""
        (folder / "scenario.chaos.yaml").write_text(scenario.source.text, encoding="utf-8")
        for name, text in sop_copies(scenario).items():
            (folder / "sops").mkdir(exist_ok=True)
            (folder / "sops" / name).write_text(text, encoding="utf-8")
        environment = scenario.environment.source
        if scenario.environment.compose:
            for name, text in copies(scenario.environment).items():
                (folder / name).write_text(text, encoding="utf-8")
        elif environment.file != scenario.source.file:
            text = environment.text if scenario.environment.flat is None else as_yaml(scenario.environment.flat)
            (folder / "environment.yaml").write_text(text, encoding="utf-8")
        return {
            "scenario": scenario.name,
            "slug": scenario.slug,
            "case": scenario.model.case,
            "severity": scenario.model.severity,
            "owner": scenario.model.owner,
            "tags": scenario.model.tags,
            "description": scenario.model.description,
            "environment": scenario.environment.name,
            "file": str(scenario.file),
            "matrix": dict(scenario.matrix),
            "control": control,
            "seed": self.seed,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "wall_clock_minus_monotonic": time.time() - now(),
            "chaoskit": chaoskit.__version__,
            "python": sys.version.split()[0],
            "toxiproxy": self.toxiproxy,
        }


def rejudge(folder: Path, scenario_file: Path | None = None) -> tuple[Scenario, Verdict, ControlVerdict | None]:
    """Judge a recorded scenario again, without running anything; ``scenario_file`` for other bounds.

    Raises BrokenError when the folder holds no run, InputError when the scenario has mistakes or ran otherwise.
    """
    file = folder / META
    if not file.exists():
        raise BrokenError(f"{folder} holds no recorded scenario ({META} is missing)")
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenError(f"{file} cannot be read: {error}") from None
    source = scenario_file or folder / "scenario.chaos.yaml"
    environment = folder / "environment.yaml"
    found = load_scenarios(source, environment_file=environment if environment.exists() else None, recorded=folder)
    matching = [scenario for scenario in found if dict(scenario.matrix) == meta["matrix"]]
    if not matching:
        raise BrokenError(f"{source}: no scenario with the matrix values {meta['matrix']}")
    if scenario_file is not None:
        refuse_another(folder, matching[0], control=meta["control"])
    verdict = judge(matching[0], load(folder), meta.get("broken"))
    control = matching[0].model.control
    judged = judge_control(verdict, control.violates) if meta["control"] and control else None
    return matching[0], verdict, judged


def _write(file: Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
