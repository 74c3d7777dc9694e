"""What is wrong with a project's own plug-in is one line with its file, from every command and from pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULT = """\
from contextlib import contextmanager
from chaoskit.api import Evidence, Fault

class Nap(Fault):
    @property
    def target(self): return "nothing"
    @contextmanager
    def inject(self, context): yield Evidence(touched=1)
"""
PROVIDER = """\
from chaoskit.api import Model, Provider

class NapArgs(Model): pass

class Nap(Provider):
    Args = NapArgs
    def argv(self): return ["sleep", "600"]
    def check(self): return ""
"""
SCENARIO = """\
scenario: A nap
environment: {services: {a: {provider: PROVIDER}}}
traffic: {ask: {request: "GET {{ a.url }}/", rate: 50/s}}
steady_state: {ask: {success_rate: ">= 99%"}}
timeline: {faults: [{short: {FAULT: {}, for: 2s}}]}
"""


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In the project's root."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "300"}
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a scenario that uses a plug-in."""
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def write(project: Path, kind: str, text: str, name: str = "nap") -> None:
    """A plug-in of a kind (a folder), and a scenario that uses it."""
    folder = project / "plugins" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    fault, provider = ("nap", "noop") if kind == "faults" else ("noop", "nap")
    (project / "nap.chaos.yaml").write_text(SCENARIO.replace("FAULT", fault).replace("PROVIDER", provider))


@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        ("faults", "class Nap(", "class Napp(", "nap.py: the fault 'nap' must be a class named Nap"),
        ("faults", "target(self)", "targett(self)", "nap.py: the fault 'nap' lacks target()"),
        ("faults", "import Evidence, Fault", "import Evidenc, Fault", "cannot import name 'Evidenc'"),
        ("faults", "class Nap(Fault):", "class Nap(Fault)", "nap.py:4)"),
        ("faults", "class Nap(", "1 / 0\nclass Nap(", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("providers", "    Args = NapArgs\n", "", "nap.py: the provider 'nap' lacks its model of arguments: Args"),
        ("providers", "def argv", "def argvv", "nap.py: the provider 'nap' lacks argv() or plan(): what to run"),
    ],
)
def test_one_line_with_the_scenario_and_the_plug_in(project: Path, kind: str, old: str, new: str, said: str) -> None:
    """At the line of the scenario that uses it; the other mistakes of the file are told as well."""
    good = FAULT if kind == "faults" else PROVIDER
    assert old in good
    write(project, kind, good.replace(old, new))
    told = run(project, "chaoskit", "validate", ".")
    line = 5 if kind == "faults" else 2
    assert (told.returncode, told.stderr) == (1, "")
    assert said in told.stdout
    assert told.stdout.startswith(f"nap.chaos.yaml:{line}: ")
    assert "Traceback" not in told.stdout
    collected = run(project, sys.executable, "-m", "pytest", "--chaos", ".", "-p", "no:cacheprovider")
    assert said in collected.stdout
    assert f"nap.chaos.yaml:{line}: " in collected.stdout
    assert "registry.py" not in collected.stdout


def test_a_good_one_has_none(project: Path) -> None:
    """The plug-ins that the mistakes are made of."""
    write(project, "providers", PROVIDER)
    write(project, "faults", FAULT)
    told = run(project, "chaoskit", "validate", ".")
    assert (told.stdout, told.returncode) == ("1 files, 1 scenarios, 0 mistakes\n", 0), told.stderr


@pytest.mark.parametrize("command", [("chaoskit", "validate", "."), (sys.executable, "-m", "pytest", "--chaos", ".")])
@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("fault", "nap", "plugins/fault: 'fault' is no kind of plug-in; did you mean 'faults'?"),
        ("faults", "latency", "two faults are named 'latency': chaoskit.faults.latency and "),
    ],
)
def test_folders_and_names(project: Path, command: tuple[str, ...], kind: str, name: str, said: str) -> None:
    """A folder that is nearly that of a kind, and a name that is taken: told before anything else."""
    write(project, kind, FAULT, name)
    told = run(project, *command)
    assert told.returncode != 0
    assert said in told.stderr + told.stdout
    assert "Traceback" not in told.stderr + told.stdout
