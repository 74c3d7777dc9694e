"""What is asked of chaoskit in a pytest process, and the session that does it."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaoskit.base.errors import ChaosError
from chaoskit.language.model import Environment
from chaoskit.language.named_hosts import allowed_hosts
from chaoskit.language.plugins import load_plugins
from chaoskit.language.refusals import runtime_of
from chaoskit.language.run_target import Setting

if TYPE_CHECKING:
    from chaoskit.engine.session import Session


class ChaosRun:
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
        try:
            load_plugins(config.rootpath)
        except ChaosError as error:
            raise pytest.UsageError(str(error)) from None
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
            from chaoskit.system.pids import OURS

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
        from chaoskit.engine.toxiproxy_server import resolve

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
        from chaoskit.engine.toxiproxy_server import resolve

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


def _attempts(text: str) -> int:
    if not str(text).strip().isdecimal() or int(text) < 1:
        raise pytest.UsageError(f"--chaos-attempts: {text!r} is not a number of attempts (1, 2, ...)")
    return int(text)
