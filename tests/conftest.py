"""Shared by all tests: pytest's own fixture for testing plugins, and no time limit for single hypothesis examples.

Two environment variables are for CI: CHAOSKIT_SKIPPED names a file that gets the ids of the tests that were skipped;
with CHAOSKIT_MAY_SKIP a test that skips fails, unless this regular expression is found in its reason.
"""

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from chaoskit.system.pids import OURS

pytest_plugins = ["pytester"]
os.environ.pop("PYTEST_ADDOPTS", None)  # what this run was given is not for those that its tests start
if "PYTEST_XDIST_WORKER" in os.environ:  # what the tests of the other workers take is no disturbance to ours
    os.environ.setdefault(OURS, str(os.getppid()))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if not os.environ.get("CI"):  # hypothesis has a profile of its own for CI, without time limits and repeatable
    settings.register_profile("unhurried", deadline=None)  # a machine may be busy with other things
    settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _own_journals(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second copies of the journals of these tests do not lie among the user's own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note what was skipped; where everything is at hand, skipping is failing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if skipped := os.environ.get("CHAOSKIT_SKIPPED"):
            with Path(skipped).open("a", encoding="utf-8") as file:
                file.write(item.nodeid + "\n")
        allowed = os.environ.get("CHAOSKIT_MAY_SKIP")
        if allowed is not None and not re.search(allowed, reason):
            report.outcome, report.longrepr = "failed", f"skipped where nothing may be: {reason}"
    return report
