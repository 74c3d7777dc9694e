"""The files of a run beside its results: categories, environment, CI build."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chaoskit.report.allure.categories import CATEGORIES
from chaoskit.report.allure.executor import executor
from chaoskit.report.allure.run_files import write_run_files

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "team/shop",
    "GITHUB_RUN_ID": "123",
    "GITHUB_RUN_NUMBER": "7",
    "GITHUB_WORKFLOW": "resilience",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "team/shop",
    "CI_PIPELINE_IID": "8",
    "CI_JOB_URL": "https://gitlab.example.org/team/shop/-/jobs/1",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example.org/",
    "JOB_NAME": "shop",
    "BUILD_NUMBER": "9",
    "BUILD_URL": "https://ci.example.org/job/shop/9/",
}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            GITHUB,
            ("GitHub Actions", "github", "resilience #7", 7, "https://github.com/team/shop/actions/runs/123"),
        ),
        (GITLAB, ("GitLab CI", "gitlab", "team/shop #8", 8, GITLAB["CI_JOB_URL"])),
        (JENKINS, ("Jenkins", "jenkins", "shop #9", 9, JENKINS["BUILD_URL"])),
        ({"CI": "true"}, ("CI", "ci", "CI", None, None)),
        ({"CI": "1", "BUILD_NUMBER": "x", "BUILD_URL": "javascript:alert(1)"}, ("CI", "ci", "#x", None, None)),
    ],
    ids=["github", "gitlab", "jenkins", "generic", "hostile"],
)
def test_executor(env: dict[str, str], expected: tuple[object, ...]) -> None:
    """Which build made the results; only web addresses become links."""
    told = executor(env)
    keys = ("name", "type", "buildName", "buildOrder", "buildUrl")
    assert tuple(told.get(key) for key in keys) == expected


@pytest.mark.parametrize("env", [{}, {"CI": "false"}, {"CI": ""}])
def test_no_executor_on_a_persons_machine(env: dict[str, str]) -> None:
    """Nothing is made up."""
    assert executor(env) == {}


@pytest.mark.parametrize(
    ("message", "status", "begins"),
    [
        ("VIOLATED: x\nline\nVACUOUS: y", "failed", "Violated"),
        ("VACUOUS: x", "failed", "Vacuous"),
        ("CONTROL NOT CAUGHT: x\nVIOLATED: y", "failed", "Control not caught"),
        ("BROKEN: x\nlast lines\nVIOLATED: y", "broken", "Broken"),
        ("REFUSED: x", "failed", "Refused"),
        ("INVALID: x", "broken", "Invalid"),
        ("Skipped: netem\nmore", "skipped", "Not rehearsed"),
        ("assert 1 == 2", "failed", None),
    ],
)
def test_each_message_has_one_category(message: str, status: str, begins: str | None) -> None:
    """As Allure 2 matches (the whole message) and as Allure 3 does (somewhere in it)."""
    for match in (re.fullmatch, re.search):
        found = [
            rule["name"]
            for rule in CATEGORIES
            if status in rule["matchedStatuses"] and match(rule["messageRegex"], message)
        ]
        assert [name.startswith(str(begins)) for name in found] == ([True] if begins else []), found


def read(file: Path) -> dict[str, str]:
    """Properties, as Java reads them: escapes undone."""
    found = {}
    for line in file.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition("=")
        found[key] = value.encode("ascii").decode("unicode_escape")
    return found


def folder(place: Path, **meta: object) -> Path:
    """A recorded scenario, as far as these files need it."""
    place.mkdir()
    usual = {"seed": 1, "started": "2026-01-02T03:04:05+0000", "toxiproxy": "embedded", "environment": "shop"}
    (place / "run.json").write_text(json.dumps({**usual, **meta}), encoding="utf-8")
    return place


def test_environment(tmp_path: Path) -> None:
    """Versions, servers, seeds of all workers; in one line each, without secrets."""
    folders = [
        folder(tmp_path / "0", toxiproxy="embedded 2.12.0", runtime="process", environment="shöp\nb=c"),
        folder(tmp_path / "1", seed=2, started="2026-01-02T03:04:04+0000", alerting={"served_by": "prometheus 2"}),
        folder(tmp_path / "2", environment="http://u:geheim@x"),
        *(folder(tmp_path / f"more-{seed}", seed=seed) for seed in range(3, 7)),
    ]
    write_run_files(tmp_path / "results", folders, {})
    found = read(tmp_path / "results" / "environment.properties")
    assert found["Toxiproxy"] == "embedded 2.12.0"
    assert found["runtime"] == "process"
    assert found["alerting"] == "prometheus 2"
    assert found["environments"] == "http://u:***@x, shop, shöp\nb=c"
    assert found["seed"] == "1, 2, 3, 4 and 2 more"
    assert found["started"] == "2026-01-02T03:04:04+0000"
    assert {"chaoskit", "pytest", "allure-pytest", "Python", "system"} <= set(found)
    assert not (tmp_path / "results" / "executor.json").exists()


def test_files_of_a_run_in_ci(tmp_path: Path) -> None:
    """Also where nothing was run: categories and the build."""
    write_run_files(tmp_path, [], GITHUB)
    assert json.loads((tmp_path / "executor.json").read_text(encoding="utf-8"))["buildOrder"] == 7
    assert json.loads((tmp_path / "categories.json").read_text(encoding="utf-8")) == list(CATEGORIES)
    assert "seed" not in read(tmp_path / "environment.properties")
