"""Hooks that are active with ``--chaos``: collection, the session behind the items, what the terminal shows."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.errors import ChaosError, unknown
from chaoskit.priority import may_go_first
from chaoskit.pytest_plugin.collect import InvalidItem, ScenarioFile, ScenarioItem
from chaoskit.pytest_plugin.failed import summed_up
from chaoskit.scenario.loader import SUFFIX, room
from chaoskit.scenario.model import Environment
from chaoskit.scenario.reach import allowed_hosts
from chaoskit.scenario.setting import Setting, runtime_of

if TYPE_CHECKING:
    from chaoskit.engine.session import Session

RUNTIMES = ("auto", "docker", "process")

REPORT = "chaoskit"
"""Attribute of a test report that carries the summary of a scenario, also from xdist's workers."""

RERUN = "rerun"
"""Outcome of a report that does not count, as the test is run again (pytest-rerunfailures)."""

FAILED = pytest.StashKey[bool]()
"""Whether the test itself, between set-up and teardown, has failed."""

NOT_RUN = "chaoskit_not_run"
"""Attribute of a test report that tells of a scenario that was skipped, is invalid, or failed before it was run."""


class ChaosPlugin:
    """One per pytest process. Its :attr:`session` is made when the first scenario runs, not before."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._session: Session | None = None
        self._left = ""
        self._markers: set[str] = set()
        self.reports = Path(config.rootpath, config.getoption("--chaos-reports") or config.getini("chaos_reports"))
        self.toxiproxy: str = config.getoption("--chaos-toxiproxy") or config.getini("chaos_toxiproxy")
        self.runtime: str = config.getoption("--chaos-runtime") or config.getini("chaos_runtime")
        self.alerting: str = config.getoption("--chaos-alerting") or config.getini("chaos_alerting")
        self.attempts = _attempts(config.getoption("--chaos-attempts") or config.getini("chaos_attempts"))
        self.controls: bool = config.getoption("--chaos-controls")
        for name in ("chaos", "control"):
            self.register_marker(name)
        plugins = Path(config.rootpath, "plugins")
        for kind in ("faults", "expectations"):
            if (plugins / kind).is_dir():
                room(kind).add_folder(plugins / kind)
        self._default_to_allure()

    def _default_to_allure(self) -> None:
        """Allure results go to the reports folder unless the command line says where."""
        option = self.config.option
        if getattr(option, "allure_report_dir", False) is None and not option.collectonly:
            option.allure_report_dir = str(self.reports / "allure-results")
            # A folder of our own choice holds one run; a folder that a person named is left as it is.
            option.clean_alluredir = not hasattr(self.config, "workerinput")

    @property
    def session(self) -> Session:
        """The session that runs scenarios in this process."""
        if self._session is None:
            from chaoskit.engine.session import Session
            from chaoskit.pids import OURS

            if hasattr(self.config, "workerinput"):
                os.environ.setdefault(OURS, str(os.getppid()))  # the other workers are this run's own load
            worker = getattr(self.config, "workerinput", {}).get("workerid", "")
            self._session = Session(
                self.reports,
                seed=self.config.getoption("--chaos-seed"),
                label=worker,
                toxiproxy=self.toxiproxy,
                runtime=self.runtime,
                alerting=self.alerting,
                allow=self.allow,
                note=self._note,
            )
        return self._session

    @cached_property
    def engine(self) -> str:
        """The Toxiproxy that serves, never ``auto``. Raises ChaosError when it is not to be had."""
        from chaoskit.engine.interposer import resolve

        return resolve(self.toxiproxy, self.allow, self.runtime)

    @cached_property
    def allow(self) -> frozenset[str]:
        """Hosts beyond loopback that may be touched. Raises ChaosError for what is no host's name."""
        return allowed_hosts([*self.config.getoption("--chaos-allow"), *self.config.getini("chaos_allow")])

    def setting(self, environment: Environment) -> Setting:
        """What scenarios of an environment will stand on. Touches neither Docker nor the network.

        Raises InputError for an environment that cannot be had so.
        """
        from chaoskit.engine.alerting import alerting_of
        from chaoskit.engine.interposer import resolve

        runtime = runtime_of(environment, self.runtime)
        alerting_of(environment, self.alerting, runtime)
        return Setting(resolve(self.toxiproxy, self.allow, runtime), runtime)

    @property
    def left(self) -> str:
        """What could not be undone, in words."""
        return self._left

    def _note(self, text: str) -> None:
        """Show what takes its time: an image that is pulled or built."""
        from chaoskit.pytest_plugin.progress import write_note

        write_note(self.config, text)

    def register_marker(self, name: str) -> None:
        """Make ``name`` a known marker, so that ``-m name`` works and nothing warns."""
        if name not in self._markers:
            self._markers.add(name)
            self.config.addinivalue_line("markers", f"{name}: set by chaoskit on scenarios")

    def marker(self, text: str) -> pytest.MarkDecorator | None:
        """``text`` (a tag, a case, a severity) as a marker usable with ``-m``, or None if nothing is left of it."""
        name = re.sub(r"\W+", "_", text).strip("_")
        if not name.isidentifier():
            return None
        self.register_marker(name)
        mark: pytest.MarkDecorator = getattr(pytest.mark, name)
        return mark

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        """Collect without the garbage collector: scenarios are many small objects, and they all stay."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            return (yield)
        finally:
            if enabled:
                gc.enable()

    @pytest.hookimpl
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Recorded runs hold copies of their scenarios: these are no tests."""
        return True if collection_path == self.reports / "runs" else None

    @pytest.hookimpl
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """A scenario file becomes a node with one item for each scenario in it."""
        if file_path.name.endswith(SUFFIX):
            return ScenarioFile.from_parent(parent, path=file_path, plugin=self)
        return None

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse two scenarios that Allure and ``--lf`` could not tell apart."""
        seen: set[str] = set()
        for item in items:
            if isinstance(item, ScenarioItem):
                if item.nodeid in seen:
                    raise pytest.UsageError(f"{item.nodeid}: two scenarios of one file have the same name")
                seen.add(item.nodeid)

    @pytest.hookimpl
    def pytest_report_header(self) -> str:
        """One line that says what the run will use."""
        from chaoskit.services.docker.endpoint import endpoint
        from chaoskit.services.providers._alerting import resolve as alerting_engine

        seed = self.config.getoption("--chaos-seed")
        try:
            engine = self.engine
            if "docker" in (engine, self.runtime):
                endpoint()
            if self.runtime not in RUNTIMES:
                raise ChaosError("--chaos-runtime: " + unknown("runtime", self.runtime, RUNTIMES))
            alerting = alerting_engine(self.alerting, self.runtime)
        except ChaosError as error:
            raise pytest.UsageError(str(error)) from None
        return (
            f"chaoskit: Toxiproxy {engine}; runtime {self.runtime}; alerting {alerting}; "
            f"seed {'random' if seed is None else seed}; reports {self.reports.name}/; "
            f"priority {'raised' if may_go_first() else 'as it is (raised by root or with CAP_SYS_NICE)'}"
        )

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Let the report carry the scenario's summary, or what is known of one that was not run."""
        outcome = yield
        report = outcome.get_result()
        if report.when == "call":
            item.stash[FAILED] = report.failed
        if isinstance(item, ScenarioItem) and report.when == "call" and item.summary is not None:
            setattr(report, REPORT, item.summary)
        elif isinstance(item, ScenarioItem) and report.skipped:
            setattr(report, NOT_RUN, item.told("skipped", report.longrepr[2].removeprefix("Skipped: ")))
        elif isinstance(item, ScenarioItem) and report.failed and report.when != "teardown" and call.excinfo:
            setattr(report, NOT_RUN, item.told("broken", item.why(call.excinfo)))
        elif isinstance(item, InvalidItem) and report.failed:
            setattr(report, NOT_RUN, item.told())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Where pytest has one line for a failure, it names the worst finding."""
        summary = getattr(report, REPORT, None)
        if summary is not None and report.failed:
            summed_up(report, summary["headline"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport | pytest.CollectReport) -> Any:
        """A rehearsal that is broken or inconclusive is an error, not a failure of the service."""
        summary = getattr(report, REPORT, None)
        if summary is None or report.passed or report.outcome == RERUN:
            return None
        if summary["outcome"] in ("broken", "inconclusive"):
            return "error", "E", (summary["outcome"].upper(), {"red": True})
        return "failed", "F", (summary["outcome"].upper(), {"red": True})

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table of all scenarios, and where the reports are."""
        from chaoskit.reporters.summary import of_not_run
        from chaoskit.reporters.terminal import table

        stats = terminalreporter.stats
        reports = [report for outcome, found in stats.items() if outcome != RERUN for report in found]
        summaries = [getattr(report, REPORT) for report in reports if hasattr(report, REPORT)]
        not_run = [getattr(report, NOT_RUN) for report in reports if hasattr(report, NOT_RUN)]
        summaries += [of_not_run(told) for told in not_run if told["outcome"] != "skipped"]
        if summaries:
            terminalreporter.section("chaoskit")
            # pytest's own: it knows about --color, NO_COLOR, and how wide the terminal is
            writer = self.config.get_terminal_writer()
            swept = self._session.swept if self._session else ()
            for line in table(
                summaries,
                self.reports,
                swept,
                width=writer.fullwidth,
                paint=lambda text, colour: writer.markup(text, **{colour: True}),
            ):
                terminalreporter.write_line(line)
        if self._left:
            terminalreporter.section("chaoskit: something was left behind", red=True)
            terminalreporter.write_line(f"{self._left}\nthe next run tries again, and so does: chaoskit clean")
        skipped = [report for report in terminalreporter.stats.get("skipped", ()) if f"{SUFFIX}::" in report.nodeid]
        if skipped:
            terminalreporter.section("chaoskit: not rehearsed here")
            for report in skipped:
                terminalreporter.write_line(f"{report.nodeid}\n  {report.longrepr[2]}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """What a worker of xdist could not undo is told by the controller."""
        self._left += getattr(node, "workeroutput", {}).get(REPORT, "")

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End everything that was started. Also reached on Ctrl-C and ``-x``. A run that left something has failed."""
        try:
            if self._session is not None:
                self._session.close()
        except ChaosError as error:
            self._left = str(error)
        output = getattr(self.config, "workeroutput", {})
        output[REPORT] = self._left
        if self._left:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def _attempts(text: str) -> int:
    if not str(text).strip().isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"--chaos-attempts: {text!r} is not a number of attempts (1, 2, ...)")
    return int(text)
