"""A fault that cannot be injected here: its scenario fails with the reason, or is skipped where it says so."""

from __future__ import annotations

from typing import Any

import pytest

FAULT = """\
from chaoskit.faults.noop import Noop
from chaoskit.language.run_target import Refusal

class Picky(Noop):
    def refusal(self, setting):
        if setting.toxiproxy != "embedded":
            return None
        return Refusal(NEED, f"it cannot be done on {setting.toxiproxy} with {setting.runtime}es")
"""
PICKY = ("latency: {on: front, delay: 60ms}", "picky: {}")
LINE = 17


def with_fault(project: Any, need: str = "netem") -> Any:
    """A project with a fault of its own that is refused on the embedded server."""
    folder = project.folder / "plugins" / "faults"
    folder.mkdir(parents=True)
    settings = "[tool.pytest.ini_options]\nfilterwarnings = ['error']\nchaos_toxiproxy = 'embedded'\n"
    (project.folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    (folder / "picky.py").write_text(FAULT.replace("NEED", repr(need)), encoding="utf-8")
    return project


@pytest.mark.parametrize("flags", [["--chaos"], ["--chaos-controls"]], ids=" ".join)
def test_a_refused_scenario_fails(project: Any, flags: list[str]) -> None:
    """The line of the fault, its name, the reason, and what to do; nothing is started."""
    with_fault(project).write(own=project.edit(PICKY))
    outcome = project.run(*flags)
    items = len(flags) if flags == ["--chaos"] else 2
    assert outcome.status == 1
    assert f"{items} failed" in outcome.out
    assert f"scenarios/own.chaos.yaml:{LINE}: fault slow (picky) is refused here" in outcome.out
    assert "it cannot be done on embedded with processes" in outcome.out
    assert "requires: [netem]" in outcome.out
    assert "Traceback" not in outcome.out
    runs = project.folder / "reports" / "runs"
    assert [file.name for file in runs.rglob("*") if file.is_file()] == ["not_run.json"]


def test_a_scenario_that_requires_it_is_skipped(project: Any) -> None:
    """Skipped, and the reason is told without being asked for."""
    with_fault(project).write(own=project.edit(PICKY) + "requires: [root, netem]\n")
    outcome = project.run("--chaos")
    assert outcome.status == 0, outcome.out
    assert "1 skipped" in outcome.out
    assert "not rehearsed here" in outcome.out
    assert f"own.chaos.yaml:{LINE}: fault slow (picky) is refused here: it cannot be done" in outcome.out


def test_another_requirement_does_not_help(project: Any) -> None:
    """Only the need that is not met makes a skip of a failure."""
    with_fault(project, "docker").write(own=project.edit(PICKY) + "requires: [netem]\n")
    outcome = project.run("--chaos")
    assert "1 failed" in outcome.out
    assert "requires: [docker]" in outcome.out


def test_what_can_be_injected_runs(project: Any) -> None:
    """A requirement that is met changes nothing."""
    project.write(slow=project.scenario + "requires: [embedded-toxiproxy]\n")
    outcome = project.run("--chaos", "--chaos-toxiproxy", "embedded")
    assert "1 passed" in outcome.out, outcome.out


def test_the_requirements_are_a_closed_list(project: Any) -> None:
    """A misspelt one is told with what was meant."""
    project.write(slow=project.scenario + "requires: [netm]\n")
    outcome = project.run("--chaos")
    assert "requires: 'netm' is not allowed" in outcome.out
    assert "did you mean 'netem'?" in outcome.out


def test_the_fixture_refuses(project: Any) -> None:
    """A test in Python is told the reason, too."""
    with_fault(project)
    (project.folder / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.chaos_environment('small')\n"
        "def test_it(chaos):\n"
        "    with chaos.fault('picky'):\n"
        "        pass\n"
    )
    outcome = project.run("--chaos", "test_it.py")
    assert "1 failed" in outcome.out
    assert "fault picky is refused here: it cannot be done on embedded with processes" in outcome.out
