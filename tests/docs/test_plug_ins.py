"""docs/how-to/plug-ins.md, followed word by word: one file for each kind, found by every command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chaoskit.api

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "plug-ins.md"
BLOCK = re.compile(r"^```(?:python|yaml)\n# (?P<file>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {"faults": "brownout", "expectations": "slowest", "providers": "file_server", "actions": "write_note"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's project, in a folder of its own."""
    folder = tmp_path_factory.mktemp("followed")
    (folder / "pyproject.toml").write_text("")
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        file = folder / block["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block["text"])
    return folder


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command as a user gives it, in the project's root."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=project, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_page_has_one_of_each_kind(project: Path) -> None:
    """And nothing in them comes from elsewhere than the public surface."""
    for kind, name in KINDS.items():
        text = (project / "plugins" / kind / f"{name}.py").read_text()
        assert set(re.findall(r"\bchaoskit[\w.]*", text)) == {"chaoskit.api"}


def test_every_command_finds_them(project: Path) -> None:
    """From the project's root, and from a folder in it."""
    told = run(project, "chaoskit", "validate", "scenarios/")
    assert (told.stdout, told.returncode) == ("1 files, 1 scenarios, 0 mistakes\n", 0), told.stderr
    assert run(project / "scenarios", "chaoskit", "validate", ".").returncode == 0
    plan = run(project, "chaoskit", "plan", "scenarios/brownout.chaos.yaml")
    assert plan.returncode == 0, plan.stderr
    assert "brownout" in plan.stdout
    schemas = {
        kind: json.loads(run(project, "chaoskit", "schema", kind).stdout) for kind in ("scenario", "environment", "sop")
    }
    assert '"brownout"' in json.dumps(schemas["scenario"])
    assert '"slowest"' in json.dumps(schemas["scenario"])
    assert '"file_server"' in json.dumps(schemas["environment"])
    assert '"write_note"' in json.dumps(schemas["sop"])


def test_it_runs_and_is_judged_again(project: Path) -> None:
    """The scenario holds, and so does what was recorded of it."""
    ran = run(project, sys.executable, "-m", "pytest", "--chaos", "scenarios/", "-p", "no:cacheprovider")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
    again = run(project, "chaoskit", "judge", "latest", "--plugins", ".")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "+ slowest: expected < 1s" in again.stdout
    # Nobody knows who made the folder that a recording lies in: its code is not run, not even where it is a project.
    marker = project / "obeyed"
    for file in project.glob("plugins/*/*.py"):
        file.write_text(f"open({str(marker)!r}, 'w')\n{file.read_text()}")
    unasked = run(project, "chaoskit", "judge", "latest")
    assert unasked.returncode == 2
    assert "unknown expectation 'slowest'" in unasked.stderr
    assert unasked.stderr.endswith("is it a plug-in of your project? say whose: --plugins PROJECT\n")
    assert not marker.exists()


def test_a_name_that_is_taken(project: Path) -> None:
    """One clear error, whatever command."""
    file = project / "plugins" / "faults" / "latency.py"
    file.write_text("")
    try:
        told = run(project, "chaoskit", "validate", "scenarios/")
    finally:
        file.unlink()
    assert told.returncode == 2
    assert "two faults are named 'latency'" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_public_names_are_there() -> None:
    """Each that is told, once, in order, and nothing else."""
    names = chaoskit.api.__all__
    assert names == sorted(set(names))
    public = {name for name in vars(chaoskit.api) if re.match("[A-Za-z]", name) and name != "annotations"}
    assert public == set(names)
