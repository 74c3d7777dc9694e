"""Collection: nothing without ``--chaos``, names and markers with it, and no touch of the outside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

LIBRARY = Path(__file__).parents[2] / "scenarios"
MATRIX = ("delay: 60ms", 'delay: "{{ matrix.delay }}"')

LOADED = """\
import sys

def pytest_unconfigure(config):
    names = {name.split(".")[0] for name in sys.modules}
    heavy = {"pydantic", "yaml", "aiohttp", "docker", "psutil", "jinja2", "msgspec", "faker", "asyncio", "allure"}
    print("heavy:", sorted(heavy & names))
    print("ours:", sorted(name for name in sys.modules if name.split(".")[0] == "chaoskit"))
"""

WATCH = """\
import sys

FORBIDDEN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "os.system")

def pytest_configure(config):
    def hook(event, arguments):
        if event in FORBIDDEN:
            raise AssertionError(f"touched the outside: {event} {arguments}")
    sys.addaudithook(hook)
"""


def names(text: str) -> list[str]:
    """The names of the items that ``--collect-only -q`` lists."""
    return [line.rpartition("::")[2] for line in text.splitlines() if "::" in line]


def test_without_chaos_nothing_is_collected(project: Any) -> None:
    """Scenario files are no tests then, and other tests run as ever."""
    project.write(slow=project.scenario)
    (project.folder / "test_it.py").write_text("def test_it(): pass\n")
    outcome = project.run("-v")
    assert outcome.status == 0
    assert "1 passed" in outcome.out
    assert "chaos.yaml" not in outcome.out


def test_whoever_forgets_chaos_is_told(project: Any) -> None:
    """Where scenarios were named and nothing was collected; not where tests ran, nor where there are no scenarios."""
    (project.folder / "other").mkdir()
    project.write(slow=project.scenario)
    (project.folder / "test_it.py").write_text("def test_it(): pass\n")
    for named in ("scenarios", "scenarios/slow.chaos.yaml"):
        outcome = project.run(named)
        assert outcome.status in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR)
        assert f"chaoskit: scenarios are run with --chaos: pytest --chaos {named}" in outcome.out
    for named in ("other", "test_it.py"):
        assert "--chaos" not in project.run(named).out


def test_without_chaos_nothing_heavy_is_imported(project: Any) -> None:
    """The plugin's door costs next to nothing: no third party's package, and one module of our own."""
    (project.folder / "loaded.py").write_text(LOADED)
    (project.folder / "test_it.py").write_text("def test_it(): pass\n")
    outcome = project.run("-p", "loaded", "-p", "chaoskit.pytest_plugin", env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert "1 passed" in outcome.out
    assert "heavy: []" in outcome.out
    assert "ours: ['chaoskit', 'chaoskit.pytest_plugin']" in outcome.out


def test_collecting_touches_nothing(project: Any) -> None:
    """With ``--collect-only`` no process is started, no socket is used, and no folder is made: the whole library."""
    shutil.copytree(LIBRARY, project.folder / "library")
    shutil.copytree(LIBRARY.parent / "examples/shop/alerts", project.folder / "examples/shop/alerts")  # rules it names
    project.write(slow=project.scenario)
    (project.folder / "watch.py").write_text(WATCH)
    outcome = project.run("--chaos", "--chaos-controls", "--collect-only", "-q", "-p", "watch", "-p", "no:xdist")
    assert outcome.status == 0, outcome.out
    assert "slow" in names(outcome.out)
    assert len(names(outcome.out)) > 10
    assert "--invalid" not in outcome.out
    assert not (project.folder / "reports").exists()


def test_names_are_slugs(project: Any) -> None:
    """The file's name, then the values of its matrix: ``[a-z0-9-]`` only."""
    project.write(**{"Slow DB": project.edit(MATRIX) + "matrix: {delay: [60ms, 0.2s]}\n"})
    outcome = project.run("--chaos", "--collect-only", "-q")
    assert names(outcome.out) == ["slow-db--delay-60ms", "slow-db--delay-0-2s"]


def test_controls_are_items_of_their_own(project: Any) -> None:
    """``--chaos-controls`` doubles the scenarios that have one, and means ``--chaos``."""
    without = project.scenario.replace(project.scenario[project.scenario.index("control:") :], "")
    rest = project.scenario[project.scenario.index("traffic:") :]
    project.write(slow=project.scenario, bare=without + rest)
    assert names(project.run("--chaos", "--collect-only", "-q").out) == ["bare", "slow"]
    outcome = project.run("--chaos-controls", "--collect-only", "-q")
    assert names(outcome.out) == ["bare", "slow", "slow--control"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-k", "slow"], ["slow", "slow--control"]),
        (["-k", "slow and not control"], ["slow"]),
        (["-m", "critical"], ["slow", "slow--control"]),
        (["-m", "blocker"], ["other", "other--control"]),
        (["-m", "latency"], ["slow", "slow--control"]),
        (["-m", "two_words"], ["other", "other--control", "slow", "slow--control"]),
        (["-m", "C7"], ["slow", "slow--control"]),
        (["-m", "chaos and not control"], ["other", "slow"]),
        (["-m", "control"], ["other--control", "slow--control"]),
        (["scenarios/slow.chaos.yaml::slow"], ["slow"]),
    ],
    ids=" ".join,
)
def test_selecting(project: Any, flags: list[str], expected: list[str]) -> None:
    """By name, severity, tag, case and kind, as with any test; no marker is unknown."""
    other = (("case: C7", "case: D2"), ("severity: critical", "severity: blocker"), ("[latency, ", "["))
    project.write(slow=project.scenario, other=project.edit(*other))
    outcome = project.run("--chaos-controls", "--collect-only", "-q", "--strict-markers", *flags)
    assert names(outcome.out) == expected


def test_a_file_with_mistakes_is_one_failing_item(project: Any) -> None:
    """All its mistakes, no traceback; what is right is still collected."""
    project.write(good=project.scenario, bad=project.edit(("rate: 50/s", "rate: 50"), ("latency: {on", "ltency: {on")))
    assert names(project.run("--chaos", "--collect-only", "-q").out) == ["bad--invalid", "good"]
    outcome = project.run("--chaos", "-k", "invalid")
    assert outcome.status == 1
    assert "scenarios/bad.chaos.yaml:11: rate: 50 is not a rate" in outcome.out
    assert "scenarios/bad.chaos.yaml:17: unknown fault 'ltency'" in outcome.out
    assert "1 failed, 1 deselected" in outcome.out
    assert "Traceback" not in outcome.out
    assert ".py:" not in outcome.out


def test_the_options_explain_themselves(project: Any) -> None:
    """``pytest --help`` lists them, and the header says what a run will use."""
    text = project.run("--help").out
    for option in ("--chaos ", "--chaos-controls", "--chaos-seed", "--chaos-reports"):
        assert option in text
    project.write(slow=project.scenario)
    outcome = project.run("--chaos", "--collect-only", "--chaos-seed", "7", "--chaos-reports", "out")
    assert re.search(
        "chaoskit: Toxiproxy embedded; runtime auto; alerting (embedded|prometheus); seed 7; reports out/; priority ",
        outcome.out,
    )


def test_the_fixture_needs_chaos(project: Any) -> None:
    """A Python test that uses it is skipped in an ordinary run, and says why."""
    (project.folder / "test_it.py").write_text("def test_it(chaos): pass\n")
    outcome = project.run("-rs")
    assert "1 skipped" in outcome.out
    assert "the chaos fixture needs --chaos" in outcome.out


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ("", "the chaos fixture needs an environment: @pytest.mark.chaos_environment"),
        (
            "@pytest.mark.chaos_environment('smal')",
            "unknown environment 'smal'; legal: small; did you mean 'small'?",
        ),
    ],
)
def test_the_fixture_needs_an_environment(project: Any, mark: str, says: str) -> None:
    """A missing or unknown name is told with what is legal."""
    (project.folder / "test_it.py").write_text(f"import pytest\n{mark}\ndef test_it(chaos): pass\n")
    outcome = project.run("--chaos", "test_it.py")
    assert "1 error" in outcome.out
    assert says in outcome.out


def test_plug_ins_of_a_project(project: Any) -> None:
    """``plugins/faults/NAME.py`` is a fault of scenarios in this project."""
    folder = project.folder / "plugins" / "faults"
    folder.mkdir(parents=True)
    noop = (Path(__file__).parents[2] / "chaoskit" / "faults" / "noop.py").read_text(encoding="utf-8")
    (folder / "nothing.py").write_text(noop.replace("class Noop", "class Nothing"), encoding="utf-8")
    project.write(own=project.edit(("latency: {on: front, delay: 60ms}", "nothing: {}")))
    assert names(project.run("--chaos", "--collect-only", "-q").out) == ["own"]
