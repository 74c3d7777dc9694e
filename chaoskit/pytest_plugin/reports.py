"""What is written when a run is over, by the controller alone: the history, the page, and the gate's answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.errors import ChaosError
from chaoskit.pytest_plugin.plugin import NOT_RUN, REPORT, RERUN, ChaosPlugin

if TYPE_CHECKING:
    from chaoskit.report.runs import Recorded
    from chaoskit.trend.gate import Decision, Settings

EXIT_INCONCLUSIVE = 6
"""Exit status of pytest where the gate blocks for nothing but what stayed inconclusive; pytest's own end at 5."""

# A run that was interrupted, or that pytest could not start, is no run to look back at.
_WHOLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class RunReports:
    """Collects what the scenarios left, from this process or from xdist's workers, and reports at the end.

    A report that cannot be written is told and fails the run; the outcome of the tests stays as it was.
    """

    def __init__(self, config: pytest.Config, chaos: ChaosPlugin) -> None:
        self.config = config
        self.chaos = chaos
        self.keep = _keep(config.getini("chaos_history_keep"))
        self.settings = _settings(config)
        self.errors: list[str] = []
        self.decision: Decision | None = None
        self._folders: list[Path] = []
        self._not_run: dict[str, dict[str, Any]] = {}
        self._others_failed = False

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the scenario behind a report, and whether anything failed that is none of the gate's."""
        if report.outcome == RERUN:
            return
        summary, not_run = getattr(report, REPORT, None), getattr(report, NOT_RUN, None)
        if summary is not None:
            self._folders.append(Path(summary["folder"]))
        elif not_run is not None:
            self._not_run[report.nodeid] = not_run
        elif report.failed:
            self._others_failed = True

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that could not be collected fails the run, whatever the gate says."""
        self._others_failed = self._others_failed or report.failed

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> object:
        """After everything was ended: history, page, gate. Each is tried, whatever became of the others."""
        result = yield
        if not self._folders and not self._not_run:
            if self.settings is not None and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
            return result
        whole = session.exitstatus in _WHOLE
        self._try("what was not run", self._write_not_run)
        if whole:
            self._try("the history", self._record)
        self._try("the page", self._page)
        if whole and self.settings is not None:
            self._try("the gate", self._gate)
            session.exitstatus = self._status(int(session.exitstatus))
        if self.errors:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """What the gate says, and what could not be written."""
        if self.decision is not None:
            from chaoskit.trend.gate import PASSED, text

            good = self.decision.decision == PASSED
            terminalreporter.section("chaoskit: gate", green=good, red=not good)
            for line in text(self.decision):
                terminalreporter.write_line(line)
        if self.errors:
            terminalreporter.section("chaoskit: reports could not be written", red=True)
            for error in self.errors:
                terminalreporter.write_line(error)

    # Inside

    @cached_property
    def recorded(self) -> list[Recorded]:
        """The scenarios of the run, those that were not run last."""
        from chaoskit.report.runs import from_dict, read

        return [*map(read, self._folders), *map(from_dict, self._not_run.values())]

    @cached_property
    def run(self) -> str:
        """The run's id: its folder's name; with xdist, whose workers have a folder each, one of the same form."""
        stamps = sorted(folder.parent.name[:15] for folder in self._folders) or [time.strftime("%Y%m%d-%H%M%S")]
        return f"{stamps[0]}-{os.getpid()}"

    @property
    def history(self) -> Path:
        """The database."""
        from chaoskit.trend.history_db import FILE

        return self.chaos.reports / FILE

    def _try(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except ChaosError as error:
            self.errors.append(f"{what}: {error}")
        except Exception as error:
            # Whatever it is, the outcome of the tests must still be told; the run fails for it.
            self.errors.append(f"{what}: {type(error).__name__}: {error}")

    def _write_not_run(self) -> None:
        """Beside the scenarios that were run, so that the folder tells of all that failed."""
        from chaoskit.report.runs import write_not_run

        failed = [each for each in self.recorded if each.folder is None and not each.skipped]
        if failed:
            runs = sorted({folder.parent for folder in self._folders}) or [self.chaos.reports / "runs" / self.run]
            write_not_run(runs[0], failed)

    def _record(self) -> None:
        from chaoskit.trend.history_db import Database, find_revision

        with Database(self.history) as database:
            database.record(self.run, self.recorded, find_revision(self.config.rootpath), keep=self.keep)

    def _page(self) -> None:
        from chaoskit.report.html import NAME, write_page
        from chaoskit.trend.history_db import Database

        trend = []
        if self.history.exists():
            with Database(self.history) as database:
                trend = database.trend()
        write_page(self.recorded, self.chaos.reports / NAME, trend=trend, reports=self.chaos.reports)

    def _gate(self) -> None:
        from chaoskit.trend.gate import ask, write

        assert self.settings is not None
        self.decision = ask(self.history, self.run, self.recorded, self.settings, keep=True)
        write(self.decision, self.chaos.reports)

    def _status(self, status: int) -> int:
        """The gate decides on scenarios; anything else that failed, or was left behind, still fails the run."""
        if self.decision is None:  # it could not be asked
            return status or pytest.ExitCode.TESTS_FAILED
        from chaoskit.trend.gate import BLOCKED, INCONCLUSIVE, NOTHING

        if self.decision.decision == BLOCKED:
            return pytest.ExitCode.TESTS_FAILED
        if self._others_failed or self.chaos.left:
            return status or pytest.ExitCode.TESTS_FAILED
        if self.decision.decision == INCONCLUSIVE:
            return EXIT_INCONCLUSIVE
        return pytest.ExitCode.NO_TESTS_COLLECTED if self.decision.decision == NOTHING else pytest.ExitCode.OK


def _keep(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"chaos_history_keep: {text!r} is not a number of runs (1, 2, ...)")
    return int(text)


def _settings(config: pytest.Config) -> Settings | None:
    """The gate's settings, if it was asked for; bad ones are told before anything runs."""
    file, given = config.getoption("--chaos-gate-settings"), config.getoption("--chaos-gate-set")
    if not (config.getoption("--chaos-gate") or file or given):
        return None
    from chaoskit.trend.gate import load_settings

    overrides = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise pytest.UsageError(f"--chaos-gate-set {pair}: NAME=VALUE is expected, for example min_score=90")
        overrides[name.strip().replace("-", "_")] = value.strip()
    try:
        return load_settings(config.rootpath, Path(config.invocation_params.dir, file) if file else None, overrides)
    except ChaosError as error:
        raise pytest.UsageError(str(error)) from None
