"""The SOPs of a scenario while it runs: what they may reach of the environment, and where alerts find them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaoskit.alerting.report_facts import Planned
from chaoskit.alerting.sops.endpoint import PREFIX, CallBacks, refuse
from chaoskit.alerting.sops.queue import FILE, Queue
from chaoskit.alerting.sops.reports import FaultReports
from chaoskit.alerting.sops.runner import SopRunner
from chaoskit.base.blast_radius import BlastRadius
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError
from chaoskit.base.units import format_duration
from chaoskit.engine.environment import LiveEnvironment
from chaoskit.history.store import History
from chaoskit.language.scenario import Scenario
from chaoskit.system.journal import Journal
from chaoskit.traffic.templates import render

SETTLE = 10.0
"""Seconds that a scenario waits at its end for SOPs that are queued or running."""


class LiveActionContext:
    """The running environment as actions see it. It is their :class:`~chaoskit.language.action.ActionContext`."""

    def __init__(self, live: LiveEnvironment, scenario: Scenario) -> None:
        self._live = live
        self._data = {**scenario.environment.data, **scenario.model.data}

    @property
    def journal(self) -> Journal:
        """The run's."""
        return self._live.journal

    @property
    def folder(self) -> Path:
        """The environment's own."""
        return self._live.folder

    def restart(self, service: str) -> str:
        """Restart a service."""
        target = self._live.service(service)
        before, began = target.pid, now()
        self.hold(target.start)  # where the restart fails, the next scenario shall not suffer
        target.restart()
        return f"{service} restarted in {format_duration(now() - began)}, pid {before} → {target.pid}"

    def scale(self, service: str, env: Mapping[str, str]) -> str:
        """Start a service anew with changed settings."""
        began = now()
        for name, value in env.items():
            if "{{" in value or "{%" in value:  # it would be filled in when the service starts
                raise BrokenError(f"{name} of {service}: {value!r} looks like a template, and comes from the alert")
        self._live.change(service, env)
        told = ", ".join(f"{name}={value}" for name, value in env.items())
        return f"{service} started anew with {told} in {format_duration(now() - began)}"

    def address(self, service: str) -> str:
        """Where it is reached past its proxy."""
        return str(self._live.addresses()[service]["direct_url"])

    @property
    def radius(self) -> BlastRadius:
        """The environment's."""
        return self._live.radius

    def render(self, text: str, names: Mapping[str, Any]) -> str:
        """Fill in a template."""
        return render(text, {**self._data, **self._live.addresses(), **names})

    def hold(self, undo: Callable[[], None]) -> None:
        """Undo something when the scenario has ended."""
        self._live.hold(undo)


class Sops:
    """Starts the scenario's SOPs on alerts while this context lasts. Does nothing where it has none, or ``off``."""

    def __init__(self, scenario: Scenario, live: LiveEnvironment, history: History, *, off: bool = False) -> None:
        self._scenario = scenario
        self._live = live
        self._history = history
        self._runner: SopRunner | None = None
        self._wanted = bool(scenario.sops) and not off
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = self._history.folder
        if not self._wanted or folder is None:
            return self
        live, scenario = self._live, self._scenario
        reports = FaultReports(
            folder, self._history, scenario=scenario.name, environment=scenario.environment.name,
            servers=[str(told["version"]) for service in live.services.values() if (told := service.told())],
        )  # fmt: skip
        runner = SopRunner(
            scenario.sops, LiveActionContext(live, scenario), Queue(folder / FILE), reports, self._history.add,
            call_back=str(live.receiver.addresses()["sops_url"]) + "/actions",
        )  # fmt: skip
        self._runner = runner
        with ExitStack() as stack:
            stack.callback(runner.close)
            stack.callback(live.receiver.take, PREFIX, refuse)
            live.receiver.take(PREFIX, CallBacks(runner, frozenset(live.services)).take)
            stack.callback(live.alerts.listen(runner.alert))
            runner.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def plan(self, zero: float) -> None:
        """Tell when the faults are planned, for the fault reports. ``zero`` is the end of the steady phase."""
        if self._runner is not None:
            self._runner.reports.planned = [
                Planned(fault.name, fault.kind, fault.fault.target, zero + fault.at, zero + fault.at + fault.length)
                for fault in self._scenario.faults
            ]

    def complete(self) -> None:
        """Write the fault reports as they will be judged: the faults are over."""
        if self._runner is not None:
            self._runner.complete()

    @property
    def busy(self) -> bool:
        """Whether an SOP is queued or running. Raises BrokenError when running them failed by a mistake of ours."""
        if self._runner is None:
            return False
        if self._runner.error:
            raise BrokenError(self._runner.error)
        return self._runner.busy
