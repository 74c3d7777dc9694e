"""The CI files in examples/ci: right by their schemas, and their own commands run on a fresh copy of the quickstart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chaoskit.trend.history_db import Database

ROOT = Path(__file__).parents[2]
CI = ROOT / "examples" / "ci"
FILES = {"github-actions.yml": "github-workflows", "gitlab-ci.yml": "gitlab-ci"}


class Yaml12(yaml.SafeLoader):
    """``on`` is a key and not a truth value, as the CI systems read it."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool" or first not in "oOyYnN"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def content(name: str) -> dict[str, Any]:
    """A CI file as data."""
    data: dict[str, Any] = yaml.load((CI / name).read_text(encoding="utf-8"), Loader=Yaml12)
    return data


def commands(name: str) -> list[str]:
    """What the file runs in a shell, in order, without the deployment and without what installs packages."""
    data = content(name)
    if name.startswith("github"):
        found = [step["run"] for step in data["jobs"]["rehearse"]["steps"] if "run" in step]
    else:
        job = data["resilience"]
        found = [*job["before_script"], *job["script"], *job["after_script"]]
    return [command for command in found if not command.startswith("pip install")]


@pytest.mark.parametrize("name", FILES)
def test_schema(name):
    """The schema that SchemaStore publishes, as check-jsonschema carries it."""
    try:
        vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{FILES[name]}.json"
    except ModuleNotFoundError:
        pytest.skip("check-jsonschema, which carries the schemas of CI files, is not installed")
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(content(name))
    broken = {**content(name), "jobs": {"x": {"runs": 1}}} if "jobs" in content(name) else {"x": {"script": {"a": 1}}}
    assert not validator.is_valid(broken), "the schema refuses nothing"


def test_github_structure():
    """What a job needs: runner, limit of time, steps that use or run one thing; deploying needs the rehearsal."""
    data = content("github-actions.yml")
    assert {"push", "pull_request"} <= set(data["on"])
    assert data["permissions"] == {"contents": "read"}
    for job in data["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert all("@v" in step["uses"] for step in job["steps"] if "uses" in step)
    assert data["jobs"]["deploy"]["needs"] == "rehearse"
    uses = {step["uses"].partition("@")[0]: step for step in data["jobs"]["rehearse"]["steps"] if "uses" in step}
    assert uses["actions/upload-artifact"]["if"] == "${{ !cancelled() }}"
    assert uses["actions/cache"]["with"]["path"] == "reports/history.db"


def test_gitlab_structure():
    """Stages that exist, artifacts in any case, and JUnit of the tests and of the gate."""
    data = content("gitlab-ci.yml")
    job = data["resilience"]
    assert {job["stage"], data["deploy"]["stage"]} == set(data["stages"])
    assert data["deploy"]["needs"] == ["resilience"]
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == ["reports/junit.xml", "reports/gate.xml"]
    assert job["cache"]["paths"] == ["reports/history.db"]


@pytest.mark.parametrize("name", FILES)
def test_its_own_commands(name, tmp_path):
    """On a fresh copy of the quickstart: all exit with 0 and leave what the file keeps; a bad change is blocked."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "quickstart", project, ignore=shutil.ignore_patterns("reports", "__pycache__"))
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool, start in (
        ("pytest", "import pytest; sys.exit(pytest.main())"),
        ("chaoskit", "from chaoskit.cli import main; sys.exit(main())"),
    ):
        (tools / tool).write_text(f"#!{sys.executable}\nimport sys\n{start}\n")
        (tools / tool).chmod(0o755)
    summary = tmp_path / "summary.md"
    env = {
        **os.environ,
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CI": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_SHA": "c" * 40,
        "GITHUB_REF_NAME": "main",
    }

    def shell(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def patiently(command: str) -> subprocess.CompletedProcess[str]:
        """A machine so busy that chaoskit refuses to judge says nothing about a command: again, 5 times at most."""
        done = shell(command)
        for _ in range(4):
            if "fell behind its schedule" in done.stdout:
                done = shell(command)
        return done

    told = commands(name)
    assert len(told) >= 3
    assert "pytest" in "".join(told)
    for command in told:
        done = patiently(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    for kept in ("junit.xml", "gate.xml", "gate.md", "gate.json", "history.db", "chaoskit.html"):
        assert (project / "reports" / kept).stat().st_size > 0
    assert "Resilience gate: passed" in summary.read_text(encoding="utf-8")
    with Database(project / "reports" / "history.db") as database:
        entry = database.runs()[0]
    assert (entry.revision.commit, entry.revision.branch, entry.gate) == ("c" * 40, "main", "passed")
    scenario = project / "scenarios" / "slow-rates.chaos.yaml"
    scenario.write_text(
        scenario.read_text(encoding="utf-8").replace('p95: "< 700ms"', 'p95: "< 10ms"'), encoding="utf-8"
    )
    (rehearse,) = [command for command in told if command.startswith("pytest")]
    assert patiently(rehearse.replace(" --chaos-controls", "")).returncode == 1
    assert "Resilience gate: blocked" in summary.read_text(encoding="utf-8")
