"""Everything that lives as long as one pytest run: the run's folder, the journal, the worker, the environments."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.alerting.sops.queue import sweep_queues
from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, ChaosError, NotRestorable
from chaoskit.engine.alerting import alerting_of
from chaoskit.engine.environment import LiveEnvironment, discard
from chaoskit.engine.platform import Platform, ProcessPlatform
from chaoskit.engine.run import OnProgress, Run
from chaoskit.engine.run_folder import META, VERDICT, control_verdict, describe, keep_sources, write
from chaoskit.engine.toxiproxy_server import resolve
from chaoskit.history.files import make_folder
from chaoskit.history.store import History
from chaoskit.judge.judging import judge
from chaoskit.judge.verdict import ControlVerdict, Verdict
from chaoskit.language.loader import changed
from chaoskit.language.model import Environment
from chaoskit.language.named_hosts import outside, outside_of, refuse_outside
from chaoskit.language.refusals import runtime_of
from chaoskit.language.scenario import Scenario
from chaoskit.system.guardian import start_guardian
from chaoskit.system.journal import Journal
from chaoskit.system.priority import measuring, session_first
from chaoskit.system.sweep import sweep
from chaoskit.traffic.generator import TrafficGenerator

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What one scenario left: its folder, its history, and what was judged. ``wall`` is seconds in all, ``meta`` what
    ``run.json`` says, ``attempts`` how often it was run."""

    scenario: Scenario
    folder: Path
    history: History
    verdict: Verdict
    control: ControlVerdict | None
    wall: float
    seed: int
    meta: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1


class Session:
    """Runs scenarios one after the other; scenarios share an environment until one needs another (docs/decisions/0013).

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
        self.runs = (reports / "runs").absolute()
        make_folder(self.runs)
        self.swept: Sequence[str] = [*sweep(), *sweep_queues(self.runs)]
        self.id = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), str(os.getpid()), label)))
        self.folder = self.runs / self.id
        make_folder(self.folder)
        self.journal = Journal.of_run(self.id, self.folder)
        session_first(self.journal)
        self._guardian = start_guardian(self.journal)
        self._generator = TrafficGenerator(discard)
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
        keep_sources(scenario, folder)
        told = describe(scenario, control=control, seed=self.seed)
        meta = {**told, "toxiproxy": self.toxiproxy, **(meta or {})}
        broken: str | None = "the run was interrupted"
        # Written first, so that what is left of a run that was killed can be judged too.
        write(folder / META, {**meta, "broken": broken})
        try:
            with measuring(self.runs):
                broken = self._rehearse(scenario, history, meta, control=control, on_progress=on_progress)
        finally:
            history.close()
            meta.update(broken=broken, wall=now() - began)
            write(folder / META, meta)
        verdict = judge(scenario, history, broken, sops=scenario.starts_sops(control=control))
        if broken or verdict.recovery is None:
            self.mark_for_restart(scenario.environment)
        judged = control_verdict(scenario, verdict, control=control)
        write(folder / VERDICT, {**verdict.as_dict(), **({"control": judged.as_dict()} if judged else {})})
        return Result(scenario, folder, history, verdict, judged, meta["wall"], self.seed, meta)

    def open(self, environment: Environment, *, fresh: bool = False) -> tuple[LiveEnvironment, TrafficGenerator]:
        """The running environment and the traffic worker. One that could not be started is not tried again.

        One environment runs at a time: another is ended first.

        Raises BrokenError, and InputError for an environment that names a host beyond the blast radius.
        """
        refuse_outside(outside_of(environment, self.allow))
        key = _key(environment)
        if key in self._broken:
            raise BrokenError(f"environment {environment.name} could not be started before: {self._broken[key]}")
        if fresh and key in self._environments:
            self._environments.pop(key).stop()
        if not self._generator.alive():
            self._generator.close()
            self._generator.start()
        if key not in self._environments:
            self._end_environments()  # what idles beside it takes processor time and disturbs what is measured
            live = self._make(environment)
            try:
                live.start()
            except BaseException as error:
                if isinstance(error, ChaosError):
                    self._broken[key] = str(error)
                live.stop()
                raise
            self._environments[key] = live
        return self._environments[key], self._generator

    def prepare(
        self, environment: Environment, wanted: Environment, *, fresh: bool = False
    ) -> tuple[LiveEnvironment, TrafficGenerator, bool]:
        """Like :meth:`open`, and as good as new, with the services as ``wanted`` says; True when one was started.

        Where what the services held cannot be brought back in place, the environment is started anew.
        """
        live, generator = self.open(environment, fresh=fresh)
        try:
            return live, generator, live.prepare(wanted)
        except NotRestorable as reason:
            self.note(f"{environment.name} is started anew: {reason}")
            live, generator = self.open(environment, fresh=True)
            return live, generator, live.prepare(wanted)

    def mark_for_restart(self, environment: Environment) -> None:
        """Have the services of an environment started anew before the next scenario: this one left them ill."""
        live = self._environments.get(_key(environment))
        if live is not None:
            live.needs_restart = True

    def new_folder(self, name: str) -> Path:
        """A folder of this run for one scenario; numbered when the name is taken."""
        folder, number = self.folder / name, 1
        while os.path.lexists(folder):
            number += 1
            folder = self.folder / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder

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
            stack.callback(self._generator.close)
            for live in self._environments.values():
                stack.callback(live.stop)

    # Inside

    def _rehearse(
        self,
        scenario: Scenario,
        history: History,
        meta: dict[str, Any],
        *,
        control: bool,
        on_progress: OnProgress | None,
    ) -> str | None:
        """Run it in its environment, and add to ``meta`` what that was. Gives why it is broken, or None."""
        began, reason = now(), ""
        switched_off = scenario.model.control if control else None
        changes = [scenario.model.with_, *([switched_off.with_] if switched_off else [])]
        sops = scenario.starts_sops(control=control)
        try:
            environment, fresh = scenario.environment, scenario.model.isolation == "fresh"
            live, generator, cold = self.prepare(environment, changed(environment, *changes), fresh=fresh)
            meta.update(prepared=now() - began, **live.describe())
            try:
                Run(
                    scenario, live, generator, history, seed=self.seed, cold=cold, sops=sops, on_progress=on_progress
                ).execute()
            except BrokenError as error:
                reason = str(error)
                raise
            finally:
                live.heal()
        except BrokenError as error:
            return reason or str(error)  # healing what is broken fails too, and is not why
        return None

    def _end_environments(self) -> None:
        while self._environments:
            self._environments.popitem()[1].stop()

    def _make(self, environment: Environment) -> LiveEnvironment:
        index = sum(1 for _ in self.folder.glob("environment-*"))
        folder = self.folder / f"environment-{index}-{environment.name}"
        alerting = alerting_of(environment, self.alerting, runtime_of(environment, self.runtime))
        platform = self._platform(environment, folder)
        return LiveEnvironment(environment, folder, self.journal, self._generator, platform, alerting, allow=self.allow)

    def _platform(self, environment: Environment, folder: Path) -> Platform:
        if runtime_of(environment, self.runtime) == "process":
            return ProcessPlatform(self.toxiproxy, folder, self.journal, self.seed, BlastRadius(self.allow))
        from chaoskit.engine.docker.platform import DockerPlatform

        toxiproxy = resolve(self._asked, self.allow, "docker")
        name = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"chaoskit-{self.id}-{folder.name}")
        if environment.compose:
            from chaoskit.engine.docker.compose import ComposePlatform

            return ComposePlatform(environment, folder, toxiproxy, name, self.journal, self.note, self.seed, self.allow)
        return DockerPlatform(toxiproxy, name, self.journal, self.note, self.seed)


def _key(environment: Environment) -> tuple[str, Path]:
    """Two files may each have an environment of the same name."""
    return environment.name, environment.source.file
