"""Hooks that are active with ``--chaos``: collection, the session behind the items, what the terminal shows."""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.errors import ChaosError, unknown
from chaoskit.language.loader import SUFFIX
from chaoskit.pytest_plugin.chaos_run import ChaosRun
from chaoskit.pytest_plugin.collect import InvalidItem, ScenarioFile, ScenarioItem
from chaoskit.pytest_plugin.failed import summed_up
from chaoskit.system.priority import may_go_first

if TYPE_CHECKING:
    pass

RUNTIMES = ("auto", "docker", "process")

REPORT = "chaoskit"
"""Attribute of a test report that carries the summary of a scenario, also from xdist's workers."""

RERUN = "rerun"
"""Outcome of a report that does not count, as the test is run again (pytest-rerunfailures)."""

FAILED = pytest.StashKey[bool]()
"""Whether the test itself, between set-up and teardown, has failed."""

NOT_RUN = "chaoskit_not_run"
"""Attribute of a test report that tells of a scenario that was skipped, is invalid, or failed before it was run."""


class ChaosPlugin(ChaosRun):
    """The hooks of a pytest process, and what is asked of chaoskit in it."""

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
        from chaoskit.report.summary import of_not_run
        from chaoskit.report.terminal import table

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
