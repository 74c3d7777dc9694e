"""The pytest plugin's door: options and one fixture. Everything else is imported only when ``--chaos`` is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chaoskit.pytest_plugin.fixture import Chaos


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of chaoskit."""
    group = parser.getgroup("chaos", "resilience scenarios (chaoskit)")
    group.addoption("--chaos", action="store_true", help="collect and run *.chaos.yaml scenarios")
    group.addoption(
        "--chaos-controls",
        action="store_true",
        help="run each scenario also with its control, which must be violated where it says",
    )
    group.addoption("--chaos-seed", type=int, metavar="N", help="seed of data, schedule and faults (default: random)")
    group.addoption(
        "--chaos-attempts",
        metavar="N",
        help="run a scenario that others' load left open at most N times, again after waiting for calm (default: 3)",
    )
    group.addoption("--chaos-reports", metavar="DIR", help="folder for runs and Allure results (default: reports)")
    group.addoption(
        "--chaos-toxiproxy",
        metavar="ENGINE",
        help="auto (the default: binary if toxiproxy-server is on the PATH), embedded, binary, docker, or http://HOST:PORT",
    )
    group.addoption(
        "--chaos-runtime",
        metavar="RUNTIME",
        help="auto (the default: docker for environments with services that are only images), process, or docker",
    )
    group.addoption(
        "--chaos-alerting",
        metavar="ENGINE",
        help="what evaluates alerting rules: auto (the default: prometheus where Prometheus and Alertmanager are on "
        "the PATH), embedded, or prometheus",
    )
    group.addoption(
        "--chaos-allow",
        action="append",
        default=[],
        metavar="HOST",
        help="a host beyond loopback that scenarios may touch; may be given again for another",
    )
    group.addoption(
        "--chaos-gate",
        action="store_true",
        help="let the gate decide the exit status: by score, severities and earlier runs ([tool.chaoskit.gate])",
    )
    group.addoption(
        "--chaos-gate-settings", metavar="FILE", help="the gate with settings from a YAML or TOML file instead"
    )
    group.addoption(
        "--chaos-gate-set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the gate with this setting (min_score=90, block=blocker,critical); may be given again for another",
    )
    parser.addini("chaos_history_keep", "how many runs reports/history.db keeps", default="200")
    parser.addini("chaos_attempts", "how often a scenario is run at most: as --chaos-attempts", default="3")
    parser.addini("chaos_allow", "hosts beyond loopback that scenarios may touch", type="args", default=[])
    parser.addini("chaos_runtime", "what services run in: as --chaos-runtime", default="auto")
    parser.addini("chaos_toxiproxy", "which Toxiproxy serves: as --chaos-toxiproxy", default="auto")
    parser.addini("chaos_alerting", "what evaluates alerting rules: as --chaos-alerting", default="auto")
    parser.addini("chaos_reports", "folder for runs and Allure results", default="reports")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin proper when it is wanted."""
    config.addinivalue_line("markers", "chaos_environment(name): the environment of the chaos fixture")
    if config.getoption("--chaos") or config.getoption("--chaos-controls"):
        from chaoskit.pytest_plugin.plugin import ChaosPlugin
        from chaoskit.pytest_plugin.signals import EndingSignals

        chaos = ChaosPlugin(config)
        config.pluginmanager.register(chaos, "chaoskit-run")
        if not hasattr(config, "workerinput") and not config.option.collectonly:
            from chaoskit.pytest_plugin.reports import RunReports

            config.pluginmanager.register(RunReports(config, chaos), "chaoskit-reports")
        config.pluginmanager.register(EndingSignals(), "chaoskit-signals")
        if getattr(config.option, "allure_report_dir", None):
            from chaoskit.pytest_plugin.allure_results import AllureResults
            from chaoskit.pytest_plugin.collect import ALLURE_RESULTS

            config.pluginmanager.register(AllureResults(config), ALLURE_RESULTS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Where nothing was collected from a place that holds scenarios: say how they are run."""
    nothing = (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR)
    if exitstatus not in nothing or config.pluginmanager.hasplugin("chaoskit-run"):
        return
    for named in config.invocation_params.args:
        place = Path(config.invocation_params.dir, str(named).partition("::")[0])
        is_one = place.is_file() and place.name.endswith(".chaos.yaml")
        if is_one or (place.is_dir() and next(place.rglob("*.chaos.yaml"), None) is not None):
            terminalreporter.write_line(
                f"chaoskit: scenarios are run with --chaos: pytest --chaos {named}", yellow=True
            )
            return


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """A running environment with traffic, faults and history for scenarios written in Python.

    Needs ``--chaos``. The environment is named by ``@pytest.mark.chaos_environment("shop")``.
    """
    if not request.config.pluginmanager.hasplugin("chaoskit-run"):
        pytest.skip("the chaos fixture needs --chaos")
    from chaoskit.pytest_plugin.fixture import chaos_for

    yield from chaos_for(request)
