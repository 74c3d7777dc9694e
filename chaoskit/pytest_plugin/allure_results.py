"""What allure-pytest needs to be told: what names a scenario, what failed in it, and which item was interrupted."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.units import counted
from chaoskit.pytest_plugin.collect import InvalidItem, ScenarioItem
from chaoskit.pytest_plugin.plugin import REPORT

if TYPE_CHECKING:
    from chaoskit.engine.session import Result


class AllureResults:
    """Registered beside allure-pytest. The controller of xdist writes the files of the run, its workers the results."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results = Path(config.option.allure_report_dir)
        self._patterns = dict(config.option.allure_link_pattern)
        self._folders: list[Path] = []
        self._names: dict[tuple[Path, str, bool], str] = {}
        self._controller = not hasattr(config, "workerinput")
        self._without_pictures: dict[str, Result] = {}
        self._earlier = 0

    @property
    def _listener(self) -> Any:
        return self.config.pluginmanager.get_plugin("allure_listener")

    def _test(self, item: pytest.Item) -> Any:
        """allure-pytest's result of an item, or None."""
        uuid = self._listener._cache.get(item.nodeid)
        return self._listener.allure_logger.get_test(uuid) if uuid else None

    def attach(self, result: Result) -> None:
        """Fill the running test. Beside other workers, whose scenarios are measured, pictures are left to the end."""
        from chaoskit.report.allure.result import attach

        uuid = attach(result, self._listener, pictures=self._controller)
        if not self._controller:
            self._without_pictures[uuid] = result

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """allure-pytest has emptied the folder by now if it was asked to."""
        if self._controller:
            self._earlier = sum(1 for _ in self.results.glob("*-result.json"))

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Names that tell all scenarios of this run apart."""
        from chaoskit.report.allure.identity import names

        self._names = names((item.scenario, item.control) for item in session.items if isinstance(item, ScenarioItem))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Ctrl-C: allure-pytest would write the item as passed, which is what its set-up was. It is discarded."""
        try:
            return (yield)
        except BaseException:
            uuid = self._listener._cache.pop(item.nodeid)
            if uuid:
                self._listener.allure_logger.drop_test(uuid)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """After the verdict and before allure-pytest makes the history id."""
        test = self._test(item)
        if test is None:
            return
        if isinstance(item, ScenarioItem):
            from chaoskit.report import summary
            from chaoskit.report.allure.identity import identify

            name = self._names.get((item.scenario.file, item.scenario.slug, item.control), "")
            outcome = summary.of(item.result)["outcome"] if item.result is not None else ""
            identify(test, item.scenario, item.control, self._patterns, name=name, outcome=outcome)
        elif isinstance(item, InvalidItem):
            test.name = f"{item.path.name}: mistakes in the file"
        details = test.statusDetails
        if details is not None and isinstance(item, (ScenarioItem, InvalidItem)):
            details.message = _message(item) or details.message

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the folders of the scenarios, also of workers."""
        summary = getattr(report, REPORT, None)
        if summary is not None:
            self._folders.append(Path(summary["folder"]))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Pictures that are left; categories, environment and CI build."""
        if self._without_pictures:
            from chaoskit.report.allure.result import add_pictures

            runs = next(iter(self._without_pictures.values())).folder.parents[1]
            add_pictures(self.results, self._without_pictures, runs)
        if self._controller and (self._folders or session.testscollected):
            from chaoskit.report.allure.run_files import write_run_files

            write_run_files(self.results, self._folders)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Results of several runs in one folder are one report: not silently."""
        if self._earlier:
            terminalreporter.write_line(
                f"chaoskit: {self.results} held {counted(self._earlier, 'results')} before this run; "
                "a report shows all (--clean-alluredir empties it first)"
            )


def _message(item: ScenarioItem | InvalidItem) -> str:
    """The first thing read in a report; its first word is what the categories are made from."""
    from chaoskit.report.allure.result import message_of
    from chaoskit.report.allure.words import clean

    if isinstance(item, InvalidItem):
        return clean(f"INVALID: {item.path.name}\n{item.error}")
    if item.result is not None:
        return message_of(item.result)
    if item.refused and not all(each.accepted for each in item.refused):
        return clean("REFUSED: " + "\n".join(map(str, item.refused)))
    return ""
