"""Scenario files and scenarios as pytest's own nodes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaoskit.base.errors import ChaosError, InputError
from chaoskit.base.mask import mask
from chaoskit.base.plain_files import MOST_TEXT, open_plain, read_whole
from chaoskit.language.loader import load, slug
from chaoskit.language.named_hosts import outside, refuse_outside
from chaoskit.language.refusals import refused
from chaoskit.language.run_target import Setting
from chaoskit.language.scenario import Scenario
from chaoskit.language.shortages import refuse_too_few
from chaoskit.pytest_plugin.chaos_run import ChaosRun

if TYPE_CHECKING:
    from chaoskit.engine.session import Result


ALLURE_RESULTS = "chaoskit-allure"
"""Name of the plugin that fills allure-pytest's results."""

_TITLE = re.compile(r"^scenario:[ \t]*(?P<quote>[\"']?)(?P<title>.+?)(?P=quote)[ \t]*$", re.MULTILINE)
"""The name of a scenario in a file that may be no YAML."""


class ScenarioFailed(AssertionError):
    """A scenario that was violated, vacuous or refused, or a control that was not caught."""


class ScenarioFile(pytest.File):
    """A ``*.chaos.yaml`` file. One that has mistakes becomes one failing item, so that the others still run."""

    def __init__(self, *, plugin: ChaosRun, **rest: Any) -> None:
        super().__init__(**rest)
        self.plugin = plugin

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each scenario, and one for each control when they are asked for."""
        try:
            scenarios = load(self.path)
            for scenario in scenarios:
                refuse_outside(outside(scenario, self.plugin.allow))
            refuse_too_few(scenarios)
            settings = [self.plugin.setting(scenario.environment) for scenario in scenarios]
        except InputError as error:
            name = slug(self.path.name.split(".")[0])
            yield InvalidItem.from_parent(self, name=f"{name}--invalid", error=error)
            return
        for scenario, setting in zip(scenarios, settings, strict=True):
            given = {"scenario": scenario, "setting": setting}
            yield ScenarioItem.from_parent(self, name=scenario.slug, control=False, **given)
            if self.plugin.controls and scenario.model.control is not None:
                yield ScenarioItem.from_parent(self, name=f"{scenario.slug}--control", control=True, **given)


class InvalidItem(pytest.Item):
    """A file with mistakes: fails with all of them."""

    def __init__(self, *, error: InputError, **rest: Any) -> None:
        super().__init__(**rest)
        self.error = error
        self.add_marker("chaos")

    def told(self) -> dict[str, Any]:
        """Plain data for the reports: what the file calls its scenario, and the mistakes."""
        from chaoskit.pytest_plugin.reproduce import reproduce
        from chaoskit.report.runs import INVALID, UNKNOWN

        option = self.config.option
        return {
            "folder": None,
            "scenario": mask(_title(self.path)),
            "slug": self.name,
            "outcome": INVALID,
            "reason": mask(str(self.error)),
            "control": False,
            "severity": UNKNOWN,
            "file": self.nodeid.rpartition("::")[0],
            "nodeid": self.nodeid,
            "started": _now(),
            "reproduce": reproduce(
                self.config, self.nodeid.rpartition("::")[0], option.chaos_controls, option.chaos_seed
            ),
        }

    def runtest(self) -> None:
        """Fail."""
        raise self.error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:  # noqa: ARG002
        """The mistakes, one a line."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the first mistake stands."""
        return self.path, self.error.problems[0].line - 1, self.name


class ScenarioItem(pytest.Item):
    """One scenario, or its control."""

    def __init__(self, *, scenario: Scenario, setting: Setting, control: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        self.setting = setting
        self.control = control
        self.result: Result | None = None
        self.summary: dict[str, Any] | None = None
        model = scenario.model
        plugin = self._plugin()
        # Asking the machine what it can do takes a process or two: a list of the tests does without.
        listed = self.config.option.collectonly
        self.refused = [] if listed else list(refused(scenario, setting))
        if self.refused and all(each.accepted for each in self.refused):
            self.add_marker(pytest.mark.skip(reason="\n".join(map(str, self.refused))))
        words = ["chaos", model.severity, *model.tags, *([model.case] if model.case else [])]
        for word in [*words, *(["control"] if control else [])]:
            mark = plugin.marker(word)
            if mark is not None:
                self.add_marker(mark)
        if self.config.pluginmanager.hasplugin("allure_listener"):
            from chaoskit.report.allure.labels import labels

            for value, kind in labels(scenario, control):
                self.add_marker(pytest.mark.allure_label(value, label_type=kind))

    def _plugin(self) -> ChaosRun:
        parent = self.parent
        assert isinstance(parent, ScenarioFile)
        return parent.plugin

    def runtest(self) -> None:
        """Run the scenario and judge it; one with a fault that cannot be injected here fails at once."""
        before, self.result, self.summary = self.result, None, None  # of an earlier time, with --reruns
        if self.refused:
            raise ScenarioFailed("\n".join(map(str, self.refused)))
        from chaoskit.engine.attempts import keep, rehearse
        from chaoskit.pytest_plugin.progress import ProgressLine
        from chaoskit.report import summary
        from chaoskit.report.failure import failure

        with ProgressLine(self.config, self.nodeid) as line:
            session = self._plugin().session
            meta = {"nodeid": self.nodeid, "reproduce": self._reproduce(session.seed)}
            result = rehearse(
                session,
                self.scenario,
                attempts=self._plugin().attempts,
                control=self.control,
                on_progress=line.show,
                meta=meta,
            )
        if before is not None:
            result = keep([before, result])
        self.result = result
        self.summary = {**summary.of(result), **meta}
        if self.config.getoption("allure_report_dir", None):
            results: Any = self.config.pluginmanager.get_plugin(ALLURE_RESULTS)
            results.attach(result)
        if self.summary["passed"]:
            return
        text = failure(result)
        if self.summary["outcome"] in ("broken", "inconclusive"):
            raise ChaosError(text)
        raise ScenarioFailed(text)

    def _reproduce(self, seed: int | None) -> str:
        from chaoskit.pytest_plugin.reproduce import reproduce
        from chaoskit.pytest_plugin.variables import variables

        used = variables(self.scenario.environment, docker=self.setting.runtime == "docker")
        return reproduce(self.config, self.nodeid, self.control, seed, *used)

    def told(self, outcome: str, reason: str) -> dict[str, Any]:
        """Plain data for the reports on a scenario that was skipped, or that failed before it was run."""
        model = self.scenario.model
        return {
            "folder": None,
            "scenario": self.scenario.name,
            "slug": self.name,
            "outcome": outcome,
            "reason": mask(reason),
            "control": self.control,
            "case": model.case or "",
            "severity": model.severity,
            "owner": model.owner or "",
            "tags": model.tags,
            "matrix": dict(self.scenario.matrix),
            "nodeid": self.nodeid,
            "started": _now(),
            "reproduce": self._reproduce(self.config.option.chaos_seed),
        }

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected and seen, instead of a traceback through chaoskit."""
        if isinstance(excinfo.value, (ScenarioFailed, ChaosError)):
            return self.why(excinfo)
        return super().repr_failure(excinfo, style)

    @staticmethod
    def why(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """The text of a failure; an error that nobody foresaw is named, too."""
        known = isinstance(excinfo.value, (ScenarioFailed, ChaosError))
        return str(excinfo.value) if known else excinfo.exconly()

    def reportinfo(self) -> tuple[Path, int, str]:
        """File, zero-based line, and name."""
        return self.path, self.scenario.source.line(("scenario",)) - 1, self.name


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _title(file: Path) -> str:
    """What a file that cannot be read calls its scenario; its own name if that is not to be found."""
    try:
        with open_plain(file) as opened:
            found = _TITLE.search(read_whole(opened, file, MOST_TEXT).decode("utf-8", "replace"))
    except OSError:
        found = None
    return found["title"] if found else file.name
